/** Failures in words: one line that says what went wrong and what to do, and the exit code. */
import { HomingError, type ErrorCode } from '../errors.ts'
import { visible } from './text.ts'

/** Somebody typed what a program cannot take. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Something of the world, not of us: a file that is missing, a process that ended. */
export class ProgramError extends Error {
  override readonly name = 'ProgramError'
}

/** What to do about a system's error, by its code. */
const systemHints: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process listens there: stop it, or choose another port with --listen (port 0: any free one)',
  EADDRNOTAVAIL: 'this machine has no such address: see --listen',
  EACCES: 'this user may not do that: ports below 1024 and the files of others need more rights',
  ENOTFOUND: 'there is no such host',
  ENOSPC: 'the disk is full',
}

/** What to do about an error of the library, by its code and where its message does not say so itself. */
const hints: readonly { code: ErrorCode; about: RegExp; hint: string }[] = [
  { code: 'IDENTITY_IN_USE', about: /./, hint: 'choose another one, or stop the process that has it' },
  { code: 'DATASTORE', about: /./, hint: 'see that the datastore of --store runs and can be reached' },
  { code: 'REFUSED', about: /cluster/, hint: 'choose it with --cluster' },
  { code: 'REFUSED', about: /secret/, hint: 'give all of them the same one with --secret-file or HOMING_SECRET' },
]

/** Whether the error is one that can be met without a fault of the program: it needs no stack. */
export function isExpected(error: unknown): boolean {
  return (
    error instanceof UsageError ||
    error instanceof ProgramError ||
    error instanceof HomingError ||
    systemCodeOf(error) !== undefined
  )
}

/** 2: what was typed is wrong; 1: everything else. */
export function exitCodeOf(error: unknown): number {
  return error instanceof UsageError || (error instanceof HomingError && error.code === 'BAD_OPTION') ? 2 : 1
}

/** One line: the message, what lies below it as far as it says more, and what to do. */
export function sentence(error: unknown): string {
  const said = visible(because(error))
  const hint = hintFor(error, said)
  return hint === undefined ? said : `${said} (${hint})`
}

/** The message of an error with those of its causes that it does not repeat. */
export function because(error: unknown): string {
  let text = ''
  for (const one of chain(error)) {
    const message = one instanceof Error ? one.message || one.name : String(one)
    if (text === '') text = message
    else if (!text.includes(message)) text += `: ${message}`
  }
  return text
}

export function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? String(error)) : String(error)
}

function hintFor(error: unknown, said: string): string | undefined {
  if (/--[a-z]/.test(said)) return undefined // it names the option already
  const known = chain(error)
    .map(systemCodeOf)
    .find(code => code !== undefined && code in systemHints)
  if (known !== undefined) return systemHints[known]
  const codes = chain(error).map(one => (one instanceof HomingError ? one.code : undefined))
  return hints.find(({ code, about }) => codes.includes(code) && about.test(said))?.hint
}

/** Errors of the system have a `syscall`; those of Node's own argument checks do not, and are faults of the program. */
function systemCodeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** How deep causes are followed: an error may be its own cause. */
const causesMax = 8

function chain(error: unknown): unknown[] {
  const found: unknown[] = []
  for (let one = error; one !== undefined && found.length < causesMax; one = one instanceof Error ? one.cause : undefined)
    found.push(one)
  return found
}
