/** A redis-server of a test's own: on loopback, on a free port, writing nothing. */

import { type ChildProcess, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CertificateAuthority } from './certificates.ts'
import { freePort } from './free-port.ts'
import { endServer, startServer } from './server-process.ts'

export interface RedisServer extends AsyncDisposable {
  readonly port: number
  readonly url: string
  readonly pid: number
  /** Ends it as a crash would. */
  kill(): Promise<void>
  /** Starts it again on the same port, empty; with `more` options if there are any. */
  restart(...more: string[]): Promise<void>
}

/** Whether the program is installed; without it, and without `HOMING_TEST_REDIS`, tests of Redis are skipped. */
export function hasRedisServer(): boolean {
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false // not installed: that is the answer
  }
}

/** @param args further options of redis-server, such as `--requirepass`. */
export function startRedisServer(...args: string[]): Promise<RedisServer> {
  return startRedis(port => ['--port', `${port}`, ...unsaved, ...args])
}

/** One that speaks TLS only, with a certificate of that authority. */
export async function startTlsRedisServer(ca: CertificateAuthority, folder: string, ...more: string[]): Promise<RedisServer> {
  const { cert, key } = ca.certify('redis')
  const files = { 'ca-cert': ca.cert, cert, key }
  const args = ['--tls-auth-clients', 'no']
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(folder, `${name}.pem`), text)
    args.push(`--tls-${name}-file`, join(folder, `${name}.pem`))
  }
  return startRedis(port => ['--port', '0', '--tls-port', `${port}`, ...unsaved, ...args, ...more], 'rediss')
}

const unsaved = ['--save', '', '--appendonly', 'no']

/** With the options for its port. `restart` takes others for the same port. */
export async function startRedis(argsFor: (port: number) => readonly string[], scheme = 'redis'): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'homing-redis-'))
  const port = await freePort()
  const args = argsFor(port)
  let child = await start(port, folder, args)
  return {
    port,
    url: `${scheme}://127.0.0.1:${port}/0`,
    get pid() {
      return child.pid!
    },
    kill: () => endServer(child),
    async restart(...more) {
      child = await start(port, folder, [...args, ...more])
    },
    async [Symbol.asyncDispose]() {
      await endServer(child)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function start(port: number, folder: string, args: readonly string[]): Promise<ChildProcess> {
  const all = ['--bind', '127.0.0.1', '--dir', folder, ...args]
  const { child } = await startServer(`redis-server on port ${port}`, 'redis-server', all, started => accepts(port, started))
  return child
}

/** Until it takes a connection. Refused ones are its start; each try waits for the answer of the system. */
async function accepts(port: number, child: ChildProcess): Promise<void> {
  while (child.exitCode === null) {
    const socket = createConnection(port, '127.0.0.1')
    const answer = await Promise.race([once(socket, 'connect').then(() => true), once(socket, 'close').then(() => false)]).catch(
      () => false,
    )
    socket.destroy()
    if (answer) return
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}
