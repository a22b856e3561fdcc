/** Numbers as they are typed on a command line, for commander. */
import { InvalidArgumentError } from 'commander'

export function oneOrMore(typed: string): number {
  if (!/^\d{1,15}$/.test(typed) || Number(typed) === 0) throw new InvalidArgumentError('It is a whole number above 0.')
  return Number(typed)
}

export function zeroOrMore(typed: string): number {
  if (!/^\d{1,15}$/.test(typed)) throw new InvalidArgumentError('It is a whole number, 0 or more.')
  return Number(typed)
}
