/** The file of a Unix socket: whether anybody listens behind it, and its removal when nobody does. */

import { randomUUID } from 'node:crypto'
import { link, lstat, rename, unlink } from 'node:fs/promises'
import { connect } from 'node:net'
import { codeOf } from './system-error.ts'

/** Removes the socket at `path` if its listener is gone. Resolves to whether the path is free now; a file that is no socket stays. */
export async function removeStale(path: string): Promise<boolean> {
  try {
    if (!(await lstat(path)).isSocket() || (await isAlive(path))) return false
    // Another process may do the same at this moment, and listen already: what is taken away is looked at once more.
    const aside = `${path}.${randomUUID().slice(0, 8)}`
    await rename(path, aside)
    const alive = await isAlive(aside)
    if (alive) await link(aside, path)
    await unlink(aside)
    return !alive
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return true // gone by itself, or the other process was quicker
    throw error
  }
}

/** Anything but a refusal counts as life: a stopped process with a full queue of callers does not refuse. */
function isAlive(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(path)
    const answer = (alive: boolean): void => {
      socket.destroy()
      resolve(alive)
    }
    socket.once('connect', () => answer(true))
    socket.once('error', error => answer(codeOf(error) !== 'ECONNREFUSED'))
  })
}

const underWay = new Map<string, Promise<unknown>>()

/** Those of this process that would listen at one path take their turns: between looking and listening nobody else may do either. */
export async function oneAtATime<T>(path: string, work: () => Promise<T>): Promise<T> {
  const before = underWay.get(path)
  const mine = before === undefined ? work() : before.then(work)
  // The next one waits for the end of this one, whatever that is.
  const ended = mine.then(
    () => undefined,
    () => undefined,
  )
  underWay.set(path, ended)
  try {
    return await mine
  } finally {
    if (underWay.get(path) === ended) underWay.delete(path)
  }
}
