/** Riak under the contract: on a test server of its own, or on the cluster whose nodes RIAK_NODES names (`host:port,host:port`). */

import { openDatastore } from '../../lib/datastores/open.ts'
import { startRiakServer } from '../support/riak-server.ts'
import type { KnownDriver, StartedDriver } from './known-driver.ts'

const pass = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))
const promises = { atomicPut: false, durable: false, shared: true }

/** The sentences of docs/datastores.md. */
const bothHold = 'Riak judges a condition before it writes: of two writers at the same moment both may be told that theirs held.'
const oneCopy =
  'A listing is made from one copy of each key: what another process has just written or removed it may for a moment miss or show.'
const notOurs = 'A cluster that others may use is not stopped for a test.'

/** The cluster that RIAK_NODES names, and RIAK_BUCKET_TYPE, if tests are to run on one. */
export function givenRiak(): string | undefined {
  const nodes = process.env['RIAK_NODES']
  const type = process.env['RIAK_BUCKET_TYPE']
  return nodes && `riak://${nodes}${type ? `?bucketType=${encodeURIComponent(type)}` : ''}`
}

const cannot = { 'what was written or removed a moment ago is listed, or not, at once': oneCopy }

function driverOn(url: string): Pick<StartedDriver, 'open' | 'promises' | 'pass' | 'elsewhere'> {
  return {
    open: ({ operationTimeoutMs = 20_000 } = {}) => openDatastore(url, { operationTimeoutMs, cluster: 'contract' }),
    promises,
    pass,
    elsewhere: { url },
  }
}

const ownRiak: KnownDriver = {
  name: 'riak (test server)',
  missing: () => undefined,
  cannot,
  lacks: { atomicPut: bothHold },
  async start() {
    const server = await startRiakServer()
    const nodes = server.ports.map((_, index) => index)
    return {
      ...driverOn(server.url),
      async crash() {
        for (const node of nodes) await server.kill(node)
        return async () => {
          for (const node of nodes) await server.restart(node)
        }
      },
      async stall() {
        for (const node of nodes) server.stall(node)
        return async () => {
          for (const node of nodes) server.resume(node)
        }
      },
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    }
  },
}

function riakGiven(url: string): KnownDriver {
  return {
    name: 'riak',
    missing: () => undefined,
    cannot,
    lacks: { atomicPut: bothHold, crash: notOurs, stall: notOurs },
    start: async () => ({ ...driverOn(url), async [Symbol.asyncDispose]() {} }),
  }
}

const given = givenRiak()

export const riakUnderTest: KnownDriver = given === undefined ? ownRiak : riakGiven(given)
