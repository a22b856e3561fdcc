/** Checks of options that more than one room has. */
import { HomingError } from '../errors.ts'

/** Throws `BAD_OPTION` unless each of these is a finite number above 0. */
export function checkPositive(options: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(options)) {
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) continue
    throw new HomingError('BAD_OPTION', `${name} is a positive number, not ${shown(value)}`)
  }
}

/** Throws `BAD_OPTION` unless it is a text, if it is given. */
export function checkText(name: string, value: unknown): asserts value is string | undefined {
  if (value !== undefined && typeof value !== 'string')
    throw new HomingError('BAD_OPTION', `${name} is a text, not ${shown(value)}`)
}

/** For people. A value of another kind may have no text at all. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return value === '' ? 'an empty one' : JSON.stringify(value.slice(0, 80))
  return value === null || typeof value === 'number' ? String(value) : Array.isArray(value) ? 'a list' : typeof value
}
