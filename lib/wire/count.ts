/** Numbers that count, as somebody else says them: whole, and not below 0. */

export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
