/** A colour for each process of the demo; none where nobody sees colours. */

const codes = [36, 33, 35, 32, 34, 31, 96, 93, 95, 92]

export type Paint = (text: string) => string

/** The same number gets the same colour. @see https://no-color.org */
export function painter(number: number, coloured: boolean = wantsColours()): Paint {
  const code = codes[number % codes.length]
  return coloured ? text => `\u001b[${code}m${text}\u001b[0m` : text => text
}

function wantsColours(): boolean {
  if (process.env['NO_COLOR']) return false
  return process.stdout.isTTY === true || Boolean(process.env['FORCE_COLOR'])
}
