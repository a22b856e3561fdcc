/** Patterns of names: `*` stands for any characters. */

/**
 * Whether a text is as one of the patterns says. Not by regular expressions: texts come from others, and several `*` make those go back
 * over a text again and again.
 */
export function matcher(patterns: readonly string[]): (text: string) => boolean {
  const exact = new Set(patterns.filter(pattern => !pattern.includes('*')))
  const loose = patterns.filter(pattern => pattern.includes('*')).map(pattern => pattern.split('*'))
  return text => exact.has(text) || loose.some(pieces => fits(pieces, text))
}

/** The first piece begins the text, the last one ends it, the others follow each other in between: the first place of each will do. */
function fits(pieces: readonly string[], text: string): boolean {
  const first = pieces[0]!
  const last = pieces.at(-1)!
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false
  const end = text.length - last.length
  let at = first.length
  for (const piece of pieces.slice(1, -1)) {
    const found = text.indexOf(piece, at)
    if (found < 0 || found + piece.length > end) return false
    at = found + piece.length
  }
  return true
}
