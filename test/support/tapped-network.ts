/** Listens to what simulated peers and brokers say to each other by protocol. */
import type { Connection, ConnectionHandler, Transport } from '../../lib/env/env.ts'
import type { Cluster } from '../../lib/testing/index.ts'
import { decodeBody } from '../../lib/wire/body.ts'
import { labelAt } from '../../lib/wire/frame.ts'
import { CALL, REPLY, TELL } from '../../lib/wire/kinds.ts'
import { bodyBytesCeiling } from '../../lib/wire/limits.ts'
import { Splitter } from '../../lib/wire/splitter.ts'
import { tapped } from './tapped-connection.ts'

export interface Heard {
  readonly calls: { protocol: string; asked: unknown; answered: unknown }[]
  readonly tells: { protocol: string; told: unknown }[]
}

/** From now on, of processes that start after this. What goes through a broker is not listened to, nor are failed answers. */
export function tap(cluster: Cluster): Heard {
  const heard: Heard = { calls: [], tells: [] }
  const open = new Map<string, { protocol: string; asked: unknown }>()
  const original = cluster.network.transportOf.bind(cluster.network)
  const said = (from: string, to: string, buffer: Buffer, start: number, end: number): void => {
    const kind = buffer[start]!
    if ((kind !== CALL && kind !== REPLY && kind !== TELL) || labelAt(buffer, start) !== 0) return
    const at = start + 1 + 3 + 4 // kind, label, sequence
    const body = (from: number): unknown => decodeBody(Buffer.from(buffer.subarray(from, end)), 0, end - from)
    const text = (from: number): string => buffer.toString('utf8', from + 1, from + 1 + buffer[from]!)
    if (kind === TELL) heard.tells.push({ protocol: text(at), told: body(at + 1 + buffer[at]!) })
    else if (kind === CALL) {
      open.set(`${from}>${to}#${buffer.readUInt32BE(at)}`, { protocol: text(at + 8), asked: body(at + 9 + buffer[at + 8]!) })
    } else {
      const asked = open.get(`${to}>${from}#${buffer.readUInt32BE(at)}`)
      if (asked && buffer[at + 4] === 0) heard.calls.push({ ...asked, answered: body(at + 5) })
    }
  }
  const heardOn = (host: string, connection: Connection): Connection => {
    const to = (): string => new URL(`tcp://${connection.remote.replace('tcp://', '')}`).hostname
    const splitter = new Splitter(bodyBytesCeiling, (buffer, start, end) => said(host, to(), buffer, start, end))
    return tapped(connection, (bytes, flushed) => {
      splitter.push(Buffer.from(bytes))
      connection.write(bytes, flushed)
    })
  }
  cluster.network.transportOf = (host): Transport => {
    const transport = original(host)
    return {
      listen: (endpoint, tls, accept) => transport.listen(endpoint, tls, connection => accept(heardOn(host, connection))),
      dial: (endpoint, tls, timeoutMs, handler: ConnectionHandler) =>
        heardOn(host, transport.dial(endpoint, tls, timeoutMs, handler)),
    }
  }
  return heard
}
