/** A server's program that a test starts, waits for, and ends. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

/**
 * Resolves when `serves` does, which tries until the program has ended; rejects when it ended before. Later its end is the test's business.
 * @param what names it in the error.
 */
export async function startServer<T>(
  what: string,
  program: string,
  args: readonly string[],
  serves: (child: ChildProcess) => Promise<T>,
): Promise<{ child: ChildProcess; served: T }> {
  const child = spawn(program, args, { stdio: 'ignore' })
  const ended = new Promise<never>((_, reject) => {
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`${what} ended before it served`)))
  })
  const served = await Promise.race([serves(child), ended])
  return { child, served }
}

/** As a crash would end it. */
export async function endServer(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}
