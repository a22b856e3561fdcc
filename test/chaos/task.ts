/** What a process of a chaos run is started with, asked, and tells. */

import type { BrokerOptions, ClientEnd, ErrorCode, PeerOptions, Status } from '../../lib/index.ts'

/** Its one argument, as JSON. */
export interface Task {
  readonly role: 'peer' | 'broker'
  readonly name: string
  /** Which of the runs under this name it is, from 1. */
  readonly run: number
  /** The file of its history: lines are appended. */
  readonly history: string
  /** The zero of all times, as `process.hrtime.bigint()` told it: the same clock for all processes of a machine. */
  readonly originNs: string
  readonly seed: string
  readonly options: PeerOptions & BrokerOptions
  /** To whom a peer sends. */
  readonly addresses: readonly string[]
  readonly load: Load
  /** Where it kills itself, when it comes there for the so-manieth time. */
  readonly failpoint?: Primed
}

export interface Primed {
  readonly name: string
  readonly times: number
}

export interface Load {
  /** Sends of a peer. */
  readonly perSecond: number
  /** The longest deadline of a send. */
  readonly deadlineMs: number
}

/** How a client takes what comes. */
export type Manner = 'at once' | 'slowly' | 'by reading'

/** What the address is like from where this peer is. */
export interface Look {
  readonly members: readonly string[]
  readonly held: readonly string[]
  /** The identity of the holder, by address; '' where there is none, or the code of the failure. */
  readonly where: Readonly<Record<string, string>>
}

export interface Orders {
  /** Resolves when the client is connected. `turn` is told again when it ends. */
  connect(address: string, manner: Manner, turn: number): Promise<void>
  disconnect(address: string): Promise<void>
  /** No more sends by itself; resolves when all have settled. */
  rest(): Promise<void>
  /** Hands the clients over and closes; then it may be ended. */
  drain(deadlineMs: number): Promise<void>
  close(): Promise<void>
  look(): Promise<Look>
  /** One message to each address: what became of it. */
  sendToAll(): Promise<Readonly<Record<string, Status>>>
}

export interface Order {
  readonly id: number
  readonly do: keyof Orders
  readonly args: readonly unknown[]
}

/** What it says by itself. */
export type News =
  | { readonly say: 'up' }
  | { readonly say: 'notUp'; readonly text: string; readonly code?: ErrorCode }
  | { readonly say: 'moving'; readonly address: string }
  | { readonly say: 'ended'; readonly address: string; readonly turn: number; readonly end: ClientEnd }
  /** Since the last time. */
  | { readonly say: 'count'; readonly sent: number; readonly settled: Partial<Record<Status, number>> }

export type Said = News | { readonly id: number; readonly ok?: unknown; readonly failed?: string }
