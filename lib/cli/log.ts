/** The log of a program: pino, to stderr. */
import type { Logger } from '../index.ts'
import { because } from './failure.ts'

export const logLevels = ['silent', 'error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof logLevels)[number]

/** Undefined for `silent`: then nothing is loaded either. */
export async function logger(level: LogLevel): Promise<Logger | undefined> {
  if (level === 'silent') return undefined
  const { pino } = await import('pino')
  const stderr = pino.destination({ dest: 2, sync: true })
  const error = level === 'debug' ? pino.stdSerializers.err : brief
  const log: Logger = pino({ level, serializers: { error } }, stderr)
  return log
}

/** An error of everyday life, such as a link that broke, is not worth its stack. */
function brief(error: Error & { code?: unknown }): object {
  return { code: error.code, message: because(error) }
}
