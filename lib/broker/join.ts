/** Makes a peer a member through a broker. */
import type { Env } from '../env/env.ts'
import { HomingError, homingError } from '../errors.ts'
import { selfOf } from '../members.ts'
import { RelayedMesh } from '../mesh/relayed.ts'
import type { Settings } from '../options.ts'
import type { Join } from '../peer.ts'
import type { Run } from '../sessions/directory.ts'
import { DirectoryClient } from './directory-client.ts'
import { startPulseLink } from './pulse-links.ts'

/** Errors of a broker that trying again will not change. */
const final: ReadonlySet<string> = new Set(['REFUSED', 'IDENTITY_IN_USE', 'BAD_OPTION', 'FENCED'])

export function joinThroughBroker(env: Env, settings: Settings): Join {
  return async (run, directoryHandler, meshHandler, router) => {
    const { logger } = settings
    const directory = new DirectoryClient({
      env,
      router,
      self: selfOf(env, run, 'peer', []),
      options: settings.sessions,
      handler: directoryHandler,
      joinAgain: broker => joinAt(broker),
      trouble: error => logger?.warn({ error }, 'a session operation failed'),
    })
    let joined = false
    let settle: { resolve(): void; reject(error: HomingError): void } | undefined
    const first = new Promise<void>((resolve, reject) => (settle = { resolve, reject }))
    const failed = (error: HomingError): void => {
      if (!joined && final.has(error.code)) settle?.reject(error)
      else if (joined && error.code === 'IDENTITY_IN_USE') directoryHandler.fenced(undefined)
    }
    const { link: options, cluster, secrets, tls } = settings
    const { stallMs } = settings.sessions
    const pulse = startPulseLink({
      env,
      run,
      cluster,
      secrets,
      tls,
      options,
      stallMs,
      failed: text => logger?.warn({}, `pulse: ${text}`),
    })
    const mesh = new RelayedMesh({
      env,
      link: { options, cluster, secrets, tls, introduce: () => ({ ...run, role: 'peer', capabilities: [] }) },
      channel: settings.channel,
      handler: meshHandler,
      self: run,
      brokers: settings.brokers,
      brokerUp: (broker, endpoint) => {
        pulse?.linkTo(endpoint)
        joinAt(broker)
      },
      // The pulse link stays: where it stands, the broker lives, and so do we.
      brokerDown: () => directory.brokerDown(),
      brokerFailed: (error, attempt) => {
        meshHandler.dialFailed('broker', error, attempt)
        failed(error)
      },
    })
    let attempts = 0
    const joinAt = (broker: Run): void => {
      const attempt = ++attempts
      directory.brokerUp(broker).then(
        () => {
          joined = true
          settle?.resolve()
        },
        (error: unknown) => {
          const why = homingError(error, 'UNREACHABLE', 'the broker did not take this peer')
          // The answer to an attempt over a former link says nothing of this one.
          if (attempt !== attempts) return
          failed(why)
          logger?.warn({ error: why, broker: broker.identity }, 'this peer could not join at the broker')
          mesh.tryNext(broker) // if it is still the one: another may have taken this peer meanwhile
        },
      )
    }
    const timeout = env.timers.after(settings.sessions.startTimeoutMs, () => {
      const why = mesh.lastError ? `: ${mesh.lastError.message}` : ''
      const text = `no broker at ${settings.brokers.join(', ')} took this peer within ${settings.sessions.startTimeoutMs} ms${why}`
      settle?.reject(new HomingError('UNREACHABLE', text, { cause: mesh.lastError }))
    })
    router.meets(mesh)
    router.connect(directory)
    try {
      mesh.start()
      await first
    } catch (error) {
      await pulse?.stop()
      await mesh.close(0)
      await directory[Symbol.asyncDispose]()
      throw error
    } finally {
      timeout.cancel()
    }
    return { directory, mesh, isGone: () => Promise.resolve(false), dispose: () => pulse?.stop() ?? Promise.resolve() }
  }
}
