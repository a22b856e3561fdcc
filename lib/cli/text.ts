/** Values as text for a terminal: whatever a sender puts into them, they cannot steer it. */

/** Control characters written out, so that none reaches the terminal. */
export function visible(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** JSON, on one line. What JSON has no word for: bytes as `{"base64": ...}`, a bigint as its digits. */
export function jsonText(value: unknown): string {
  const text = JSON.stringify(value, function (this: Record<string, unknown>, key: string, simple: unknown) {
    const original = this[key]
    if (original instanceof Uint8Array) return { base64: Buffer.from(original).toString('base64') }
    return typeof original === 'bigint' ? String(original) : simple
  }) as string | undefined
  return visible(text ?? 'null')
}

/** What somebody typed as a body: JSON if it can be read as such, else text. */
export function readBody(typed: string): unknown {
  try {
    return JSON.parse(typed) as unknown
  } catch {
    return typed // not JSON: that is an answer too
  }
}

/** `1 client`, `2 clients`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** Milliseconds with as many digits as they deserve. */
export function msText(ms: number): string {
  return `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0)} ms`
}
