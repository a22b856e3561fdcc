/** Carries out what is typed to `homing peer`, and prints what comes of it and what arrives. */
import type { ClientHandlers, Peer, SendOptions } from '../index.ts'
import { broadcastData, broadcastText } from './broadcast-text.ts'
import type { Ending } from './ending.ts'
import { explanationText } from './explanation-text.ts'
import { sentence } from './failure.ts'
import { memberData, memberText } from './member-text.ts'
import type { Printer } from './printer.ts'
import { explained, receiptData, receiptText } from './receipt-text.ts'
import { type Order, scriptHelp } from './script-line.ts'
import { counted, jsonText, visible } from './text.ts'
import { whereData, whereText } from './where-text.ts'

export class PeerScript {
  readonly #peer: Peer
  readonly #printer: Printer
  readonly #ending: Ending

  constructor(peer: Peer, printer: Printer, ending: Ending) {
    this.#peer = peer
    this.#printer = printer
    this.#ending = ending
  }

  /** Resolves when it is done and its outcome printed. Rejects with a `HomingError`. */
  async carryOut(order: Order): Promise<void> {
    const { signal } = this.#ending
    switch (order.does) {
      case 'connect':
        return this.connect(order.address)
      case 'disconnect':
        return this.#disconnect(order.address)
      case 'send':
        return this.#send(order.to, order.body, { signal, ...fromOf(order) })
      case 'request':
        return this.#request(order.to, order.body, { signal, ...fromOf(order) })
      case 'broadcast':
        return this.#broadcast(order.body, { signal, ...fromOf(order) })
      case 'where':
        return this.#where(order.address)
      case 'explain':
        return this.#explain(order.address)
      case 'members':
        return this.#members()
      case 'sessions':
        return this.#sessions()
      case 'help':
        return this.#printer.print(scriptHelp, { event: 'help', text: scriptHelp })
      case 'quit':
        return this.#ending.request()
    }
  }

  async connect(address: string): Promise<void> {
    await this.#peer.connectClient(address, this.#handlersOf(address))
    this.#printer.print(`${visible(address)} is connected to ${visible(this.#peer.identity)}`, {
      event: 'connected',
      address,
      identity: this.#peer.identity,
    })
  }

  /** A client of this program prints what it gets and answers requests with an echo. */
  #handlersOf(address: string): ClientHandlers {
    return {
      message: ({ from, peer, body, id, via }) => {
        const sender = from === undefined ? '' : `${visible(from)}: `
        this.#printer.print(`${visible(address)} <- ${sender}${jsonText(body)}`, {
          event: 'message',
          from,
          peer,
          to: address,
          body,
          id,
          via,
        })
      },
      request: ({ from, peer, body, id, via }) => {
        const sender = from === undefined ? '' : `${visible(from)}: `
        this.#printer.print(`${visible(address)} <? ${sender}${jsonText(body)}`, {
          event: 'request',
          from,
          peer,
          to: address,
          body,
          id,
          via,
        })
        return { echo: body, by: address }
      },
    }
  }

  async #disconnect(address: string): Promise<void> {
    const found = await this.#peer.disconnectClient(address)
    const words = {
      released: 'is disconnected',
      elsewhere: `is connected to ${found.at === 'elsewhere' ? visible(found.owner.identity) : ''}, not here`,
      absent: 'is not connected',
    }
    const owner = found.at === 'elsewhere' ? { identity: found.owner.identity } : {}
    this.#printer.print(`${visible(address)} ${words[found.at]}`, { event: 'disconnected', address, found: found.at, ...owner })
  }

  async #send(to: string, body: unknown, options: SendOptions): Promise<void> {
    const receipt = await explained(this.#peer, to, await this.#peer.sendMessage(to, body, options))
    this.#printer.print(receiptText(to, receipt), { event: 'receipt', ...receiptData(to, receipt) })
  }

  async #request(to: string, body: unknown, options: SendOptions): Promise<void> {
    const reply = await this.#peer.request(to, body, options)
    this.#printer.print(`${visible(to)} => ${jsonText(reply)}`, { event: 'reply', to, body: reply })
  }

  async #broadcast(body: unknown, options: SendOptions): Promise<void> {
    const result = await this.#peer.broadcast(body, options)
    this.#printer.print(broadcastText(result), { event: 'broadcast', ...broadcastData(result) })
  }

  async #where(address: string): Promise<void> {
    const found = await this.#peer.whereIs(address)
    this.#printer.print(whereText(address, found), { event: 'where', ...whereData(address, found) })
  }

  async #explain(address: string): Promise<void> {
    const explanation = await this.#peer.explain(address)
    this.#printer.print(explanationText(explanation), { event: 'explanation', ...explanation })
  }

  #members(): void {
    const members = [...this.#peer.members()].sort((a, b) => (a.identity < b.identity ? -1 : 1))
    const lines = members.map(
      member => `${memberText(member, members)}${member.identity === this.#peer.identity ? '  (this peer)' : ''}`,
    )
    this.#printer.print(lines.join('\n'), { event: 'members', members: members.map(memberData) })
  }

  async #sessions(): Promise<void> {
    const sessions: { address: string; identity: string; moving: boolean }[] = []
    for await (const { address, owner, moving } of this.#peer.sessions())
      sessions.push({ address, identity: owner.identity, moving })
    sessions.sort((a, b) => (a.address < b.address ? -1 : 1))
    const lines = sessions.map(({ address, identity }) => `  ${visible(address)}  at ${visible(identity)}`)
    this.#printer.print([counted(sessions.length, 'session'), ...lines].join('\n'), { event: 'sessions', sessions })
  }

  /** Prints what the peer tells by itself. */
  tellEvents(): void {
    const peer = this.#peer
    const tell = (text: string, data: { event: string }) => this.#printer.print(`* ${text}`, data)
    peer.on('displaced', ({ address, by }) =>
      tell(
        `${visible(address)} has been taken by ${by ? visible(by.identity) : 'nobody that is known'}`,
        named('displaced', { address, by }),
      ),
    )
    peer.on('clientRefused', ({ address }) =>
      tell(`the allow-list lets ${visible(address)} be connected here no more`, named('clientRefused', { address })),
    )
    peer.on('moving', ({ address }) => tell(`${visible(address)} should connect elsewhere`, named('moving', { address })))
    peer.on('handOverIncomplete', ({ address, from, missing }) =>
      tell(
        `${missing ?? 'some'} messages for ${visible(address)} were not handed over by ${visible(from.identity)}`,
        named('handOverIncomplete', { address, from, missing }),
      ),
    )
    peer.on('memberUp', member => tell(`${visible(member.identity)} joined`, named('memberUp', memberData(member))))
    peer.on('memberDown', ({ identity, why }) =>
      tell(`${visible(identity)} ${departure[why]}`, named('memberDown', { identity, why })),
    )
    peer.on('storeDown', error =>
      tell(`the store cannot be reached: ${sentence(error)}`, named('storeDown', { error: sentence(error) })),
    )
    peer.on('storeUp', () => tell('the store can be reached again', named('storeUp', {})))
    peer.on('lease', state => tell(`the lease is ${state}`, named('lease', { state })))
    peer.on('fenced', ({ by }) => tell('another process has this identity: this one stops', named('fenced', { by })))
  }
}

const departure = { left: 'left', lapsed: 'fell silent', replaced: 'was started anew' } as const

function named(event: string, data: object): { event: string } {
  return { event, ...data }
}

function fromOf({ from }: { from: string | undefined }): { from?: string } {
  return from === undefined ? {} : { from }
}
