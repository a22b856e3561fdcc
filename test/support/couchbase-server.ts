/**
 * CouchbaseMock, which Couchbase's makers test their clients with, behind a port of loopback that stays: at each start the mock takes
 * another one, and tells clients its own. It forgets everything when it ends, lets everybody in, and knows no durable writes.
 *
 * Its port for administration listens on every address, and no option changes that: so Java is told to take in nobody but loopback. (Whoever
 * knocks from elsewhere ends that port, which a test needs only while the mock starts.)
 */

import { type ChildProcess, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createConnection, createServer, type Socket } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { endServer, startServer } from './server-process.ts'

export interface CouchbaseServer extends AsyncDisposable {
  /** Of keys and values. */
  readonly port: number
  readonly url: string
  readonly pid: number
  /** Ends it as a crash would. */
  kill(): Promise<void>
  /** Starts it again on the same port, empty. */
  restart(): Promise<void>
}

const version = '1.5.25'
const jar =
  process.env['COUCHBASE_MOCK_JAR'] ??
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'homing', `CouchbaseMock-${version}.jar`)

/** What the mock may do: anything that it does, but listen to strangers. */
const policy = `grant {
  permission java.net.SocketPermission "127.0.0.1", "accept,connect,resolve";
  permission java.net.SocketPermission "localhost:0-", "listen,resolve";
  permission java.io.FilePermission "<<ALL FILES>>", "read";
  permission java.lang.RuntimePermission "*";
  permission java.lang.reflect.ReflectPermission "*";
  permission java.util.PropertyPermission "*", "read,write";
  permission java.security.SecurityPermission "*";
};
`
const guarded = ['-Djava.security.manager']

/** Why there is no server to be had; `undefined` if there is. */
export function couchbaseMissing(): string | undefined {
  if (!existsSync(jar)) {
    const copy = `mvn dependency:copy -Dartifact=com.couchbase.mock:CouchbaseMock:${version} -DoutputDirectory=FOLDER`
    return `no CouchbaseMock: ${copy}, then COUCHBASE_MOCK_JAR=FOLDER/CouchbaseMock-${version}.jar`
  }
  try {
    execFileSync('java', [...guarded, '-version'], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'no java before 24, which cannot keep the mock to loopback: apt-get install default-jre-headless' // that is the answer
  }
}

export async function startCouchbase(): Promise<CouchbaseServer> {
  const port = await freePort()
  let mock = await start()
  const open = new Set<Socket>()
  const keep = (socket: Socket): Socket => {
    open.add(socket)
    return socket.on('error', () => socket.destroy()).on('close', () => open.delete(socket))
  }
  const proxy = createServer({ noDelay: true }, socket => {
    const onward = keep(createConnection({ port: mock.port, host: '127.0.0.1', noDelay: true }))
    keep(socket).on('close', () => onward.destroy())
    onward.on('close', () => socket.destroy())
    socket.pipe(onward)
    onward.on('data', chunk => {
      replaceAll(chunk, `${mock.port}`, `${port}`)
      if (!socket.write(chunk)) onward.pause()
    })
    socket.on('drain', () => onward.resume())
  })
  const listen = (): Promise<unknown> => once(proxy.listen(port, '127.0.0.1'), 'listening')
  const hangUp = async (): Promise<void> => {
    if (!proxy.listening) return
    const closed = once(proxy, 'close')
    proxy.close()
    for (const socket of open) socket.destroy()
    await closed
  }
  await listen()
  return {
    port,
    url: `couchbase://default@127.0.0.1:${port}/default?durability=none`,
    get pid() {
      return mock.process.pid!
    },
    async kill() {
      await endServer(mock.process)
      await hangUp()
    },
    async restart() {
      mock = await start()
      await listen()
    },
    async [Symbol.asyncDispose]() {
      await endServer(mock.process)
      await hangUp()
    },
  }
}

/** The mock names its port in what it tells of itself. Both have five digits, so that nothing moves. */
function replaceAll(chunk: Buffer, port: string, by: string): void {
  for (let at = chunk.indexOf(port); at >= 0; at = chunk.indexOf(port, at)) chunk.write(by, at, 'latin1')
}

interface Mock {
  readonly process: ChildProcess
  readonly port: number
}

async function start(): Promise<Mock> {
  const webPort = await freePort()
  const options = {
    host: '127.0.0.1',
    port: webPort,
    nodes: 1,
    replicas: 0,
    vbuckets: 64,
    buckets: 'default::couchbase',
  }
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`])
  const folder = await mkdtemp(join(tmpdir(), 'homing-couchbase-'))
  const policyFile = join(folder, 'policy')
  await writeFile(policyFile, policy)
  const flags = ['-Xmx512m', '-XX:TieredStopAtLevel=1', ...guarded, `-Djava.security.policy==${policyFile}`]
  const all = [...flags, '-jar', jar, ...args, '--cccp']
  const { child, served } = await startServer('CouchbaseMock', 'java', all, started => keyValuePort(webPort, started))
  await rm(folder, { recursive: true })
  return { process: child, port: served }
}

async function keyValuePort(webPort: number, child: ChildProcess): Promise<number> {
  for (;;) {
    try {
      const answer = await fetch(`http://127.0.0.1:${webPort}/pools/default/buckets/default`)
      const { nodes } = (await answer.json()) as { nodes: { ports: { direct: number } }[] }
      return nodes[0]!.ports.direct
    } catch (error) {
      if (child.exitCode !== null) throw error
      await new Promise(resolve => setTimeout(resolve, 20)) // it does not answer yet
    }
  }
}
