/** `brokerless <n> <total>`: a process of the demo that meets the others through the session store and talks to them directly. */
import type { Message, Peer } from '../index.ts'
import { followAllowFile } from './allow-file.ts'
import { peerOptions } from './cluster-options.ts'
import { Conversation, type Voice } from './conversation.ts'
import type { Ending } from './ending.ts'
import { newPeer, registerUnlessEnding } from './join.ts'
import { runProgram } from './program.ts'
import { schedule } from './schedule.ts'
import { connected, disconnected, receivedHere, receivedPacket, registered } from './seed-lines.ts'
import { type Asked, isInvalidBackend, printLine, readDemo } from './seed-program.ts'

const name = 'brokerless'

export function main(argv: readonly string[]): Promise<never> {
  return runProgram(name, async ending => {
    const asked = readDemo(
      name,
      'A process of the brokerless demo: its clients talk to each other, then to those of the next process.',
      argv,
    )
    return isInvalidBackend(asked.flags) ? 1 : talk(asked, ending)
  })
}

async function talk({ n, total, flags }: Asked, ending: Ending): Promise<number> {
  const options = await peerOptions(flags)
  const peer = await newPeer(options)
  peer.on('registered', identity => printLine(registered(identity)))
  if (!(await registerUnlessEnding(peer, options.identity ?? String(n), ending))) return 0
  peer.on('fenced', () => ending.request())
  followAllowFile(name, flags.allowFile, peer, ending)
  const conversation = new Conversation(peer, brokerlessVoice(peer, printLine), flags, ending)
  await conversation.run(schedule(n, total))
  await ending.requested
  await conversation.end()
  await peer.close()
  return 0
}

/** What a brokerless process prints; `print` takes its lines. */
export function brokerlessVoice(peer: Peer, print: (line: string) => void): Voice {
  return {
    connected: address => print(connected(address, peer.identity)),
    disconnected: (address, found) => print(disconnected(address, peer.identity, found)),
    received: message => print(receivedLine(message)),
    undelivered: print,
    failed: line => void process.stderr.write(`${name}: ${line}\n`),
  }
}

function receivedLine({ from, to, body, via }: Message): string {
  return via === 'local' ? receivedHere(from, to, body) : receivedPacket([from ?? null, to, body])
}
