/** The datastore of a chaos run, and what can befall it: LMDB in a folder, a redis-server of the run's own, or one that is given. */

import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { startRedisServer, type RedisServer } from '../support/redis-server.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { endNow, type Children } from './children.ts'

/** A fault of the datastore that lasts until `end` is called. */
export interface Outage {
  readonly text: string
  /** Whether the engine may have forgotten what it had acknowledged. */
  readonly forgets: boolean
  end(): Promise<void>
}

/** What may befall it; the name tells which. */
export type Misfortune = { readonly name: string; readonly begin: () => Promise<Outage> }

export interface Engine extends AsyncDisposable {
  /** A way to it for one process, which can be cut where there is a line at all. */
  connect(): Promise<{ url: string; line: TcpProxy | undefined }>
  readonly misfortunes: readonly Misfortune[]
}

/** @param store `lmdb`, `redis`, or the URL of a datastore that is there already: then nothing befalls it. */
export async function startEngine(store: string, folder: string, children: Children): Promise<Engine> {
  if (store === 'lmdb') return lmdbEngine(join(folder, 'store'), children, join(folder, 'store.log'))
  if (store === 'redis') return redisEngine(children)
  return {
    connect: () => Promise.resolve({ url: store, line: undefined }),
    misfortunes: [],
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

function lmdbEngine(folder: string, children: Children, log: string): Engine {
  mkdirSync(folder, { recursive: true })
  return {
    connect: () => Promise.resolve({ url: `lmdb:${folder}`, line: undefined }),
    misfortunes: [
      {
        name: 'a process holds the lock of the datastore',
        async begin() {
          const holder = children.start('../contract/lmdb-lock-holder.js', [folder], log)
          await Promise.race([once(holder, 'message'), once(holder, 'exit')])
          return { text: 'a process holds the lock of the datastore', forgets: false, end: () => endNow(holder) }
        },
      },
      {
        name: 'a process is killed while it writes to the datastore',
        async begin() {
          const writer = children.start('../datastores/lmdb-writer.js', [folder], log)
          await Promise.race([once(writer, 'message'), once(writer, 'exit')])
          writer.send({ do: 'write', prefix: 'chaos/' }, () => {}) // it is killed anyhow
          return { text: 'a process writes to the datastore until it is killed', forgets: false, end: () => endNow(writer) }
        },
      },
    ],
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

async function redisEngine(children: Children): Promise<Engine> {
  // What it has answered is with the system, so that a kill loses nothing; unless it begins with another log.
  const server = await startRedisServer('--appendonly', 'yes')
  children.watchPid(server.pid)
  const lines: TcpProxy[] = []
  let begun = 0
  const killed = async (forgets: boolean): Promise<Outage> => {
    children.forgetPid(server.pid)
    await server.kill()
    return {
      text: `redis-server is killed, and ${forgets ? 'has forgotten all' : 'remembers all'} when it is back`,
      forgets,
      async end() {
        if (forgets) begun++
        await server.restart('--appenddirname', `log-${begun}`)
        children.watchPid(server.pid)
      },
    }
  }
  return {
    async connect() {
      const line = await startTcpProxy(server.port)
      lines.push(line)
      return { url: `redis://127.0.0.1:${line.port}/0`, line }
    },
    misfortunes: [
      { name: 'redis-server is killed', begin: () => killed(false) },
      { name: 'redis-server is killed and forgets', begin: () => killed(true) },
      { name: 'redis-server stands still', begin: () => stopped(server) },
    ],
    async [Symbol.asyncDispose]() {
      for (const line of lines) await line[Symbol.asyncDispose]()
      children.forgetPid(server.pid)
      await server[Symbol.asyncDispose]()
    },
  }
}

async function stopped(server: RedisServer): Promise<Outage> {
  const { pid } = server
  process.kill(pid, 'SIGSTOP')
  return {
    text: 'redis-server stands still',
    forgets: false,
    async end() {
      if (server.pid === pid) process.kill(pid, 'SIGCONT')
    },
  }
}
