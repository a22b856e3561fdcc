/** What the three programs of the seed have in common: their arguments and how they begin and end. */
import type { Command } from 'commander'
import { readPlace } from '../datastores/url.ts'
import { HomingError } from '../errors.ts'
import { addClusterOptions, type ClusterFlagDefaults, type ClusterFlags, storeOf } from './cluster-options.ts'
import { zeroOrMore } from './typed-number.ts'
import { type PlaceInRing, placeInRing } from './place-in-ring.ts'
import { newCommand } from './program.ts'
import { invalidBackend } from './seed-lines.ts'

export interface DemoFlags extends ClusterFlags {
  waitMs: number
}

/** A demo process as it was asked for on the command line. */
export interface Asked extends PlaceInRing {
  flags: DemoFlags
}

/** Reads the command line of `brokerless` or `server`. Throws `UsageError`, or what commander throws after having said it. */
export function readDemo(name: string, description: string, argv: readonly string[]): Asked {
  const command = newCommand(name)
    .description(description)
    .argument('[n]', 'which process this is, from 1', '1')
    .argument('[total]', 'how many there are', '1')
    .option('--wait-ms <ms>', 'how long a message waits for a client that is not connected yet', zeroOrMore, 10_000)
  addClusterOptions(command, seedDefaults(true))
  command.addHelpText(
    'after',
    `\nExample: in three terminals\n  node bin/${name} 1 3\n  node bin/${name} 2 3\n  node bin/${name} 3 3`,
  )
  command.parse(argv, { from: 'user' })
  const [n, total] = command.processedArgs as [string, string]
  return { ...placeInRing(n, total), flags: command.opts<DemoFlags>() }
}

/** Demos print what they do; they log only if asked to. */
export function seedDefaults(broker: boolean): ClusterFlagDefaults {
  return { logLevel: 'silent', broker }
}

export function parseSeed<T>(command: Command, argv: readonly string[]): T {
  return command.parse(argv, { from: 'user' }).opts() as T
}

/** Says what the seed says of a datastore that is not known, and nothing else; true if it is not known. */
export function isInvalidBackend(flags: ClusterFlags): boolean {
  const url = storeOf(flags)
  if (url === undefined) return false
  try {
    readPlace(url, flags.cluster ?? 'homing')
    return false
  } catch (error) {
    if (!(error instanceof HomingError)) throw error
    process.stderr.write(`${invalidBackend}\n${error.message}\n`)
    return true
  }
}

export function printLine(line: string): void {
  process.stdout.write(`${line}\n`)
}
