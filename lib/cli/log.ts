/** The log of a program: pino, to stderr. */
import type { Logger } from '../index.ts'

export const logLevels = ['silent', 'error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof logLevels)[number]

/** Undefined for `silent`: then nothing is loaded either. */
export async function logger(level: LogLevel): Promise<Logger | undefined> {
  if (level === 'silent') return undefined
  const { pino } = await import('pino')
  const stderr = pino.destination({ dest: 2, sync: true })
  const log: Logger = pino({ level, serializers: { error: pino.stdSerializers.err } }, stderr)
  return log
}
