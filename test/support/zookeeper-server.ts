/** ZooKeeper servers of a test's own, one or an ensemble: on loopback, on free ports, in folders of their own. */

import { type ChildProcess, execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { endServer, startServer } from './server-process.ts'

export interface ZooKeeperServer extends AsyncDisposable {
  readonly port: number
  readonly url: string
  readonly pid: number
  /** Ends it as a crash would. */
  kill(): Promise<void>
  /** Starts it again on the same port, with what it had stored, or `empty`. */
  restart(empty?: 'empty'): Promise<void>
}

/** Where Debian's package `zookeeper` has it; elsewhere `ZOOKEEPER_JAR` names a jar whose manifest leads to what it needs. */
const jar = process.env['ZOOKEEPER_JAR'] ?? '/usr/share/java/zookeeper.jar'

/** Why there is no server to be had; `undefined` if there is. */
export function zooKeeperMissing(): string | undefined {
  if (!existsSync(jar)) return 'no ZooKeeper: apt-get install zookeeper, or ZOOKEEPER_JAR=/path/to/zookeeper.jar'
  try {
    execFileSync('java', ['-version'], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'no java: apt-get install default-jre-headless' // not installed: that is the answer
  }
}

/** @param tickMs sessions last between 2 and 20 ticks. */
export async function startZooKeeper({ tickMs = 200 }: { tickMs?: number } = {}): Promise<ZooKeeperServer> {
  const folder = await mkdtemp(join(tmpdir(), 'homing-zookeeper-'))
  const port = await freePort()
  let child = await start(port, folder, tickMs)
  return {
    port,
    url: `zookeeper://127.0.0.1:${port}/test`,
    get pid() {
      return child.pid!
    },
    kill: () => endServer(child),
    async restart(empty) {
      if (empty) await rm(join(folder, 'data'), { recursive: true, force: true })
      child = await start(port, folder, tickMs)
    },
    async [Symbol.asyncDispose]() {
      await endServer(child)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Three servers, of which two have to be up. */
export interface ZooKeeperEnsemble extends AsyncDisposable {
  /** Of all three. */
  readonly url: string
  readonly servers: readonly ZooKeeperServer[]
}

export async function startZooKeeperEnsemble({ tickMs = 200 }: { tickMs?: number } = {}): Promise<ZooKeeperEnsemble> {
  const folder = await mkdtemp(join(tmpdir(), 'homing-zookeeper-'))
  const ports = await Promise.all(Array.from({ length: 3 }, async () => [await freePort(), await freePort(), await freePort()]))
  const members: Record<string, string | number> = { initLimit: 20, syncLimit: 10 }
  for (const [i, [, quorum, election]] of ports.entries()) members[`server.${i + 1}`] = `127.0.0.1:${quorum}:${election}`
  const starts = ports.map(([port], i) => async () => {
    const own = join(folder, `${i + 1}`)
    await mkdir(join(own, 'data'), { recursive: true })
    await writeFile(join(own, 'data', 'myid'), `${i + 1}`)
    return start(port!, own, tickMs, members)
  })
  const children = await Promise.all(starts.map(each => each()))
  const servers = ports.map(([port], i): ZooKeeperServer => ({
    port: port!,
    url: `zookeeper://127.0.0.1:${port}/test`,
    get pid() {
      return children[i]!.pid!
    },
    kill: () => endServer(children[i]!),
    async restart() {
      children[i] = await starts[i]!()
    },
    [Symbol.asyncDispose]: () => endServer(children[i]!),
  }))
  return {
    url: `zookeeper://${ports.map(([port]) => `127.0.0.1:${port}`).join(',')}/test`,
    servers,
    async [Symbol.asyncDispose]() {
      await Promise.all(children.map(endServer))
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function start(
  port: number,
  folder: string,
  tickMs: number,
  more: Record<string, string | number> = {},
): Promise<ChildProcess> {
  await mkdir(join(folder, 'data'), { recursive: true })
  const options = {
    tickTime: tickMs,
    dataDir: join(folder, 'data'),
    clientPort: port,
    clientPortAddress: '127.0.0.1',
    'admin.enableServer': false,
    maxClientCnxns: 0,
    ...more,
  }
  const lines = Object.entries(options).map(([name, value]) => `${name}=${value}\n`)
  await writeFile(join(folder, 'zoo.cfg'), lines.join(''))
  const flags = [
    '-Xmx256m',
    '-XX:TieredStopAtLevel=1',
    '-Dzookeeper.jmx.log4j.disable=true',
    '-Dzookeeper.4lw.commands.whitelist=*',
    '-Dzookeeper.forceSync=no', // what a killed process has written is safe without, and tests do not wait for a disk
  ]
  const main = 'org.apache.zookeeper.server.quorum.QuorumPeerMain'
  const args = [...flags, '-cp', jar, main, join(folder, 'zoo.cfg')]
  const { child } = await startServer(`ZooKeeper on port ${port}`, 'java', args, started => serves(port, started))
  return child
}

/** Until it says how it serves: it listens, and is well, before that. */
async function serves(port: number, child: ChildProcess): Promise<void> {
  while (child.exitCode === null) {
    if ((await ask(port, 'srvr')).includes('Mode:')) return
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

/** One of the server's words of four letters, answered. */
export async function ask(port: number, word: string): Promise<string> {
  const socket = createConnection(port, '127.0.0.1')
  let answer = ''
  socket.setEncoding('utf8').on('data', text => (answer += text))
  socket.on('error', () => {}) // refused: it does not listen yet, which an empty answer says
  socket.setTimeout(200, () => socket.destroy()) // what it takes in while it starts, it may never answer
  socket.end(word)
  await new Promise(resolve => socket.once('close', resolve))
  return answer
}
