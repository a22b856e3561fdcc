/** What the mesh tells: the router hears of the channels, the application of the links. */
import type { EventEmitter } from 'node:events'
import type { PeerEvents } from '../events.ts'
import type { MeshHandler } from '../mesh/mesh.ts'
import type { Logger } from '../options.ts'
import type { Router } from '../router/router.ts'

export function meshEvents(router: Router, events: EventEmitter<PeerEvents>, logger: Logger | undefined): MeshHandler {
  return {
    accept: (channel, kind, reader) => router.accept(channel, kind, reader),
    room: (channel, address) => router.room(channel, address),
    writable: channel => router.writable(channel),
    acknowledged: (channel, sequence) => router.acknowledged(channel, sequence),
    leaving: channel => router.leaving(channel),
    down: () => {},
    ended: channel => router.ended(channel),
    linkUp: (remote, address) => void events.emit('linkUp', { identity: remote.identity, address }),
    linkDown: (identity, reason, error) => {
      logger?.info({ identity, reason, error }, 'a link ended')
      events.emit('linkDown', { identity, reason, error })
    },
    linkRefused: (remote, error) => {
      logger?.warn({ remote, error }, 'a connection was refused')
      events.emit('linkRefused', { remote, error })
    },
    dialFailed: (identity, error, attempt) => {
      logger?.debug({ identity, error, attempt }, 'a dial failed')
      events.emit('dialFailed', { identity, error, attempt })
    },
  }
}
