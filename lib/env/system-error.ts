/** Errors in the shape that Node gives to those of the system. */

/** As Node would have made it: `connect ETIMEDOUT 10.0.0.1:7400`, with `code` and `syscall`. */
export function systemError(code: string, syscall: string, where: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${syscall} ${code} ${where}`), { code, syscall })
}

/** The `code` of an error that has one. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
