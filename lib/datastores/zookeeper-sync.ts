/** The request for which node-zookeeper-client has no call: a server answers it when it has what the leader had committed by then. */

import type { Request } from 'node-zookeeper-client'

const syncCode = 9
/** An answer to a removal has no body that the client would read: so it leaves that of ours, a path, alone. */
const answeredLikeARemoval = 2

/** The path is looked at by nobody, but has to be one. */
const path = Buffer.from('/')

export function syncRequest(): Request {
  const header = { xid: 0, type: answeredLikeARemoval }
  return {
    header,
    toBuffer() {
      const body = Buffer.alloc(4 + 4 + 4 + path.length)
      body.writeInt32BE(header.xid, 0) // the client numbers what it sends
      body.writeInt32BE(syncCode, 4)
      body.writeInt32BE(path.length, 8)
      path.copy(body, 12)
      const length = Buffer.alloc(4)
      length.writeInt32BE(body.length)
      return Buffer.concat([length, body])
    },
  }
}
