/** A connection to whose writes something happens on their way. */
import type { Connection } from '../../lib/env/env.ts'

/** The same connection, but that `write` gets what is written to it. */
export function tapped(connection: Connection, write: Connection['write']): Connection {
  return {
    write,
    end: () => connection.end(),
    destroy: () => connection.destroy(),
    get pendingBytes() {
      return connection.pendingBytes
    },
    get remote() {
      return connection.remote
    },
    tls: undefined,
  }
}
