/** `server <n> <total>`: a process of the demo that talks to the others through the broker. */
import type { Peer } from '../index.ts'
import { followAllowFile } from './allow-file.ts'
import { peerOptions } from './cluster-options.ts'
import { Conversation, type Voice } from './conversation.ts'
import type { Ending } from './ending.ts'
import { HomingError } from '../errors.ts'
import { newPeer, registerUnlessEnding } from './join.ts'
import { runProgram } from './program.ts'
import { schedule } from './schedule.ts'
import { disconnectedFromServer, receivedPacket } from './seed-lines.ts'
import { type Asked, isInvalidBackend, printLine, readDemo } from './seed-program.ts'
import { uuidV1 } from './uuid.ts'

const name = 'server'
const defaultBroker = 'tcp://127.0.0.1:7400'

export function main(argv: readonly string[]): Promise<never> {
  return runProgram(name, async ending => {
    const asked = readDemo(
      name,
      'A process of the broker demo: like brokerless, but everything goes through the broker (see index).',
      argv,
    )
    return isInvalidBackend(asked.flags) ? 1 : talk(asked, ending)
  })
}

async function talk({ n, total, flags }: Asked, ending: Ending): Promise<number> {
  const broker = flags.broker ?? defaultBroker
  const options = await peerOptions({ ...flags, broker })
  const start = () => newPeer({ ...options, broker })
  const peer = await registerPatiently(start, options.identity ?? uuidV1(), broker, ending)
  if (!peer) return 0
  peer.on('fenced', () => ending.request())
  followAllowFile(name, flags.allowFile, peer, ending)
  tellOfLink(peer, ending)
  const conversation = new Conversation(peer, serverVoice(printLine), flags, ending)
  await conversation.run(schedule(n, total))
  await ending.requested
  await conversation.end()
  await peer.close()
  return 0
}

/** How long a start that failed waits before the next, ms; the library paces its own dials. */
const againMs = 500

/** Tries until a broker answers; undefined when the end is asked for first. */
async function registerPatiently(
  start: () => Promise<Peer>,
  identity: string,
  broker: string,
  ending: Ending,
): Promise<Peer | undefined> {
  let told = false
  const tell = () => {
    if (!told) process.stderr.write(`${name}: no broker answers at ${broker} yet; start one with: node bin/index\n`)
    told = true
  }
  while (!ending.isRequested) {
    const peer = await start()
    peer.on('dialFailed', tell)
    try {
      return (await registerUnlessEnding(peer, identity, ending)) ? peer : undefined
    } catch (error) {
      if (!(error instanceof HomingError) || error.code !== 'UNREACHABLE') throw error
      tell()
    } finally {
      peer.off('dialFailed', tell)
    }
    await ending.pause(againMs)
  }
  return undefined
}

/** The seed's line when the link to the broker ends; that it stands again is news for people, not a line of the seed. */
function tellOfLink(peer: Peer, ending: Ending): void {
  let lost = false
  peer.on('linkDown', () => {
    if (!lost && !ending.isRequested) printLine(disconnectedFromServer)
    lost = true
  })
  peer.on('linkUp', ({ address }) => {
    if (lost) process.stderr.write(`${name}: connected again to ${address}\n`)
    lost = false
  })
}

/** What a server prints; the broker tells the rest. */
export function serverVoice(print: (line: string) => void): Voice {
  return {
    connected: () => {},
    disconnected: () => {},
    received: ({ from, to, body }) => print(receivedPacket([4, from ?? null, to, body])),
    undelivered: print,
    failed: line => void process.stderr.write(`${name}: ${line}\n`),
  }
}
