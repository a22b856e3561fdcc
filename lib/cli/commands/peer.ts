/** `homing peer`: a peer to talk to, from a terminal or a pipe. */
import type { Peer } from '../../index.ts'
import { followAllowFile } from '../allow-file.ts'
import { addClusterOptions, type ClusterFlags, peerOptions } from '../cluster-options.ts'
import type { Ending } from '../ending.ts'
import { exitCodeOf, isExpected, sentence } from '../failure.ts'
import { briefIdentity, newPeer, registerUnlessEnding } from '../join.ts'
import { PeerScript } from '../peer-script.ts'
import { Printer } from '../printer.ts'
import type { Define } from '../run.ts'
import { readOrder } from '../script-line.ts'
import { visible } from '../text.ts'
import { TypedLines } from '../typed-lines.ts'

interface PeerFlags extends ClusterFlags {
  client: string[]
  stay?: true
  json?: true
}

export const peerCommand: Define = (program, run) => {
  const command = program
    .command('peer')
    .description("Run a peer and talk to it, line by line: 'help' says how. Its clients print what they get and echo requests.")
    .option(
      '--client <address>',
      'connect this client at once (may be given more than once)',
      (address, before: string[]) => [...before, address],
      [],
    )
    .option('--stay', 'stay after the end of the input, until a signal')
    .option('--json', 'print one JSON object a line')
  addClusterOptions(command, { logLevel: 'warn', broker: true })
  command.addHelpText(
    'after',
    "\nExample: in two terminals\n  homing peer --client alice\n  echo 'send alice hello' | homing peer",
  )
  command.action(async (flags: PeerFlags) => {
    run.code = await converse(flags, run.ending)
  })
}

/** Resolves to the exit code. */
async function converse(flags: PeerFlags, ending: Ending): Promise<number> {
  const options = await peerOptions(flags)
  const peer = await newPeer(options)
  if (!(await registerUnlessEnding(peer, options.identity ?? briefIdentity('peer'), ending))) return 0
  await using _ = peer
  followAllowFile('homing', flags.allowFile, peer, ending)
  const lines = new TypedLines(ending)
  const printer = new Printer(flags.json === true, line => lines.print(line))
  const script = new PeerScript(peer, printer, ending)
  let code = 0
  peer.on('fenced', () => {
    code = 1
    ending.request()
  })
  greet(peer, printer)
  script.tellEvents()
  for (const address of flags.client) await script.connect(address)
  code = Math.max(await obey(lines, script), code)
  if (flags.stay && !ending.isRequested) await ending.requested
  return code
}

function greet(peer: Peer, printer: Printer): void {
  const { identity, endpoints } = peer
  const place = endpoints.length > 0 ? ` at ${endpoints.join(', ')}` : ''
  printer.print(`${visible(identity)} is up${place}`, { event: 'registered', identity, endpoints })
}

/** Carries out line by line; at a terminal a line does not wait for the one before. Returns the exit code: 2 if a line could not be read. */
async function obey(lines: TypedLines, script: PeerScript): Promise<number> {
  let code = 0
  let number = 0
  const under = new Set<Promise<void>>()
  for await (const line of lines) {
    number++
    const done = obeyLine(line, script).catch((error: unknown) => {
      code = Math.max(code, complain(error, lines.isTerminal ? undefined : number))
    })
    const forget = () => void under.delete(done)
    under.add(done)
    done.then(forget, forget)
    if (!lines.isTerminal) await done
  }
  await Promise.all(under)
  return code
}

async function obeyLine(line: string, script: PeerScript): Promise<void> {
  await script.carryOut(readOrder(line))
}

/** Returns 2 for a line of a pipe that could not be read: a script with a slip in it has not done what it says. Rethrows what is no fault of the line. */
function complain(error: unknown, number: number | undefined): number {
  if (!isExpected(error)) throw error
  process.stderr.write(`homing: ${number === undefined ? '' : `line ${number}: `}${sentence(error)}\n`)
  return number !== undefined && exitCodeOf(error) === 2 ? 2 : 0
}
