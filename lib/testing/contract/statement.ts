/** A statement of the contract of datastores: a sentence, and the check whether a driver keeps it. */

import type { Datastore, Promises } from '../../datastores/datastore.ts'

/** What a statement may use beyond `open` and `pass`: a promise of the driver, or a power of whoever runs the contract. */
export type Need = 'atomicPut' | 'processes' | 'crash' | 'stall'

/** How other processes open the same engine: by a URL that Homing knows, or by a module with `export function open(argument, options)`. */
export type Elsewhere = { readonly url: string } | { readonly module: string; readonly argument: string }

export interface OpenOptions {
  /** The longest that one call may take, ms. Absent: what is right for the engine on this machine. */
  operationTimeoutMs?: number
}

/** A driver that is held against the contract, and power over the engine below it. */
export interface DriverUnderTest {
  /** Another connection to the same engine, which may hold entries of others. */
  open(options?: OpenOptions): Promise<Datastore>
  readonly promises: Promises
  /** Lets at least `ms` go by for the engine's clock. */
  pass(ms: number): Promise<void>
  /** Absent: no other process can reach the engine. */
  readonly elsewhere?: Elsewhere
  /** Ends the engine as a crash would; resolves when it is gone, to what brings it back and resolves when it can be used. */
  readonly crash?: () => Promise<() => Promise<void>>
  /** Makes the engine stand still, with its connections open; resolves to what lets it go on. */
  readonly stall?: () => Promise<() => Promise<void>>
  /** Statements, by their names, that this engine cannot promise, each with the sentence that its documentation has for it. */
  readonly cannot?: Readonly<Record<string, string>>
  /** The same for all statements that need something. */
  readonly lacks?: Readonly<Partial<Record<Need, string>>>
  /** How often statements that try to provoke a race do so. Default: 10. */
  readonly rounds?: number
}

export const roundsDefault = 10

export interface Statement {
  /** One sentence, unlike that of any other statement. */
  readonly name: string
  readonly needs: readonly Need[]
  /** Rejects if the driver does not keep it. Uses keys of its own, and removes them if it held. */
  check(driver: DriverUnderTest): Promise<void>
}

/** Why a driver is not held to a statement: its sentence for it, or that what the statement needs is not given. */
export type Exemption = { readonly sentence: string } | { readonly missing: Need }

/** `undefined`: it is held to it. */
export function exemption({ name, needs }: Statement, driver: DriverUnderTest): Exemption | undefined {
  const sentence = driver.cannot?.[name]
  if (sentence !== undefined) return { sentence }
  for (const need of needs) {
    const lacking = driver.lacks?.[need]
    if (lacking !== undefined) return { sentence: lacking }
    if (!has(driver, need)) return { missing: need }
  }
  return undefined
}

function has(driver: DriverUnderTest, need: Need): boolean {
  switch (need) {
    case 'atomicPut':
      return driver.promises.atomicPut
    case 'processes':
      return driver.elsewhere !== undefined
    case 'crash':
      return driver.crash !== undefined
    case 'stall':
      return driver.stall !== undefined
  }
}
