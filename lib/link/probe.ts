/** Asks whether a certain run of a peer answers at its endpoints. */
import type { Env } from '../env/env.ts'
import type { HomingError } from '../errors.ts'
import { Link, type LinkHandler, type LinkSetup } from './link.ts'

export type ProbeResult = 'answers' | 'refused' | 'silent'

/**
 * `answers`: this very run proved itself at one of the endpoints. `refused`: nobody listens at any of them. `silent`: it cannot be told.
 * Never rejects; settles within the handshake's and the dial's time an endpoint.
 */
export async function probeRun(
  env: Env,
  setup: LinkSetup,
  run: { identity: string; incarnation: string },
  endpoints: readonly string[],
): Promise<ProbeResult> {
  const results = await Promise.all(endpoints.map(endpoint => probeEndpoint(env, setup, run, endpoint)))
  if (results.includes('answers')) return 'answers'
  return results.length > 0 && results.every(result => result === 'refused') ? 'refused' : 'silent'
}

function probeEndpoint(
  env: Env,
  setup: LinkSetup,
  run: { identity: string; incarnation: string },
  endpoint: string,
): Promise<ProbeResult> {
  return new Promise(resolve => {
    const handler: LinkHandler = {
      opened(link) {
        // Another run at the same port says nothing of this one but that it is not there.
        const same = link.remote.identity === run.identity && link.remote.incarnation === run.incarnation
        resolve(same ? 'answers' : 'refused')
        link.close('local')
      },
      frame: () => {},
      batch: () => {},
      closed: (_link, _reason, error) => resolve(nobodyListens(error) ? 'refused' : 'silent'),
    }
    const introduce = (): ReturnType<LinkSetup['introduce']> => ({ ...setup.introduce(), role: 'probe' })
    try {
      Link.dial(env, { ...setup, introduce }, endpoint, undefined, handler)
    } catch {
      resolve('silent') // an endpoint that this peer cannot read, `unix:` of another system
    }
  })
}

function nobodyListens(error: HomingError | undefined): boolean {
  const cause = error?.cause
  if (!(cause instanceof Error) || !('code' in cause)) return false
  return cause.code === 'ECONNREFUSED' || cause.code === 'ENOENT'
}
