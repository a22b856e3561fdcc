/** Code that runs in a process of its own, beside the main loop: for what may not live in a thread. */

import { type ChildProcess, fork } from 'node:child_process'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { BackgroundWorker } from './env.ts'
import { FirstFailure } from './first-failure.ts'

/** Messages that were posted and not taken off our hands: who reads so little has failed. A bound for our memory. */
const unreadMax = 10_000
/** Of what it wrote to stderr, so much of the end is kept, to say why it ended. */
const lastWordsMax = 2_048

/**
 * Never keeps this process alive, and ends with it: when the channel between them closes. What it is to know goes by `post`; a list of
 * processes shows nothing of it. It has failed when it ended before `stop`.
 */
export function startProcess(module: URL): BackgroundWorker {
  const child = fork(fileURLToPath(module), [], {
    execArgv: ['--max-semi-space-size=1'], // it holds little, and needs no room for much garbage
    env: { ...process.env, NODE_OPTIONS: withoutInspector(process.env['NODE_OPTIONS'] ?? '') },
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  child.unref()
  child.channel?.unref()

  const lastWords = tailOf(child)
  const failure = new FirstFailure()
  let exited = false
  let unread = 0
  const failed = (how: string): void => failure.report(new Error(`process ${basename(module.pathname)} ${how}${lastWords()}`))
  child.on('error', error => {
    exited ||= child.pid === undefined // it could not be started
    failure.report(error)
  })
  child.on('exit', () => {
    exited = true
  })
  // After `exit`, when its last words are read.
  child.on('close', (code, signal) => {
    failed(signal === null ? `ended with code ${code}` : `was ended by ${signal}`)
  })

  return {
    post(message) {
      if (!child.connected) return // it is ending: `exit` says so
      if (unread >= unreadMax) {
        failed(`has not read ${unread} messages`)
        child.kill('SIGKILL')
        return
      }
      unread++
      child.send(message as object, () => void unread--) // sent or not: if not, it has ended
    },
    onMessage: fn => void child.on('message', fn),
    onFailure: fn => failure.listen(fn),
    async stop(patienceMs = 0) {
      failure.expectEnd()
      if (exited) return
      const ended = ending(child)
      const impatience = setTimeout(() => child.kill('SIGKILL'), patienceMs)
      await ended
      clearTimeout(impatience)
    },
  }
}

/** Until then it keeps this process alive. */
function ending(child: ChildProcess): Promise<void> {
  child.ref()
  return new Promise(resolve => child.once('exit', () => resolve()))
}

/** An inspector has its port already; and nobody looks into this process. */
export function withoutInspector(nodeOptions: string): string {
  return nodeOptions.replaceAll(/(^|\s)--(?:inspect|debug)[\w-]*(?:=\S*)?(?:\s+[^\s-]\S*)?/g, '').trim()
}

function tailOf({ stderr }: ChildProcess): () => string {
  let tail = ''
  stderr?.setEncoding('utf8').on('data', (text: string) => (tail = (tail + text).slice(-lastWordsMax)))
  // A pipe of a child is a socket, which would keep this process alive; its type does not say so.
  if (stderr && 'unref' in stderr && typeof stderr.unref === 'function') stderr.unref()
  return () => (tail === '' ? '' : `: ${tail.trim()}`)
}
