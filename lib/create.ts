/** Makes peers and brokers: puts the rooms together. */
import { Broker } from './broker.ts'
import { joinThroughBroker } from './broker/join.ts'
import type { Datastore } from './datastores/datastore.ts'
import { openDatastore } from './datastores/open.ts'
import { readPlace } from './datastores/url.ts'
import type { Env } from './env/env.ts'
import { realEnv } from './env/real.ts'
import { HomingError, homingError } from './errors.ts'
import type { LinkSetup } from './link/link.ts'
import { probeRun } from './link/probe.ts'
import { endpointsOf, selfOf } from './members.ts'
import { DirectMesh } from './mesh/direct.ts'
import { readOptions, type BrokerOptions, type PeerOptions, type Settings } from './options.ts'
import { Peer, type Join } from './peer.ts'
import type { Run } from './sessions/directory.ts'
import { mergeRecords } from './sessions/merge.ts'
import { StoreDirectory } from './sessions/store-directory.ts'

/**
 * Makes a peer. With `identity` it is a member when this resolves; without, it becomes one by `registerIdentity`.
 * Rejects with `BAD_OPTION` (before any I/O), and as `registerIdentity` does.
 */
export async function createPeer(options: PeerOptions = {}): Promise<Peer> {
  const settings = readOptions(options, { listen: 'tcp://127.0.0.1:0' })
  const env = settings.env ?? realEnv()
  const join = settings.brokers.length > 0 ? joinThroughBroker(env, settings) : joinDirectly(env, settings)
  const peer = new Peer(env, settings, join)
  if (settings.identity !== undefined) await peer.registerIdentity(settings.identity)
  return peer
}

/** Starts a broker; it listens when this resolves. Rejects with `BAD_OPTION`, `UNREACHABLE` (the port), `DATASTORE`, `IDENTITY_IN_USE`. */
export async function createBroker(options: BrokerOptions = {}): Promise<Broker> {
  const settings = readOptions(options, { listen: 'tcp://127.0.0.1:7400' })
  const env = settings.env ?? realEnv()
  checkPlace(settings)
  return Broker.start(env, settings, () => openPatiently(env, settings))
}

/** The store's URL is checked before any I/O. */
function checkPlace({ store, openStore, cluster }: Settings): void {
  if (!openStore) readPlace(store, cluster)
}

function joinDirectly(env: Env, settings: Settings): Join {
  checkPlace(settings)
  return async (run, directoryHandler, meshHandler, router) => {
    const link: LinkSetup = {
      options: settings.link,
      cluster: settings.cluster,
      secrets: settings.secrets,
      tls: settings.tls,
      introduce: () => ({ ...run, role: 'peer', capabilities: [] }),
    }
    const datastore = await openPatiently(env, settings)
    const mesh: DirectMesh = new DirectMesh({
      env,
      link,
      channel: settings.channel,
      handler: meshHandler,
      self: run,
      endpointsOf: other => endpointsOf(env, directory?.member(other.identity), other),
      isCurrent: async other => (await directory?.lookUpMember(other.identity))?.incarnation === other.incarnation,
    })
    let directory: StoreDirectory | undefined
    try {
      const listening = await mesh.listen(settings.listen)
      router.meets(mesh)
      const self = selfOf(env, run, 'peer', [settings.advertise ?? listening])
      directory = await StoreDirectory.join({
        env,
        datastore,
        ...(settings.openStore ? {} : { storeUrl: settings.store }),
        cluster: settings.cluster,
        self,
        options: settings.sessions,
        handler: directoryHandler,
        probe: incumbent => probeRun(env, link, incumbent, incumbent.endpoints),
        waiting: ({ identity }, forMs) =>
          settings.logger?.warn({ identity, forMs }, 'a silent peer has this identity: its lease is waited for'),
        trouble: error => settings.logger?.warn({ error }, 'a session operation failed'),
      })
    } catch (error) {
      await mesh.close(0)
      await datastore[Symbol.asyncDispose]()
      throw error
    }
    router.connect(directory)
    const known = directory
    const isGone = async (other: Run): Promise<boolean> => {
      const member = known.member(other.identity)
      if (member?.incarnation !== other.incarnation || member.machine !== env.machine) return false
      return (await probeRun(env, link, other, member.endpoints)) === 'refused'
    }
    return { directory, mesh, isGone, dispose: () => datastore[Symbol.asyncDispose]() }
  }
}

/** So many tries without a pause of a second between them. */
const quickTries = 5

/** Opens the datastore; while it is down, tries again until `startTimeoutMs`. */
async function openPatiently(env: Env, { store, openStore, cluster, sessions, logger }: Settings): Promise<Datastore> {
  const giveUpMs = env.clock.monotonicMs() + sessions.startTimeoutMs
  for (let tries = 1; ; tries++) {
    try {
      if (openStore) return await openStore()
      return await openDatastore(store, {
        operationTimeoutMs: sessions.operationTimeoutMs,
        cluster,
        clock: env.clock,
        merge: mergeRecords,
        warn: text => logger?.warn({}, text),
      })
    } catch (error) {
      const failed = homingError(error, 'DATASTORE', 'the datastore could not be opened')
      const waitMs = tries < quickTries ? 50 * 2 ** tries : 1_000
      if (failed.code !== 'DATASTORE') throw failed
      if (env.clock.monotonicMs() + waitMs >= giveUpMs) {
        const sentence = `the datastore could not be opened within ${sessions.startTimeoutMs} ms`
        throw new HomingError('DATASTORE', `${sentence}: ${failed.message}`, { cause: failed })
      }
      await new Promise<void>(resolve => void env.timers.after(waitMs, resolve))
    }
  }
}
