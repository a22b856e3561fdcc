/** A process whose peer joins, delivers one message and leaves; then it ends by itself. Its arguments: store, identity, how it ends. */

import { createPeer } from '../../lib/index.ts'

const [store, identity, how = 'by itself'] = process.argv.slice(2) as [string, string, string?]
const peer = await createPeer({ identity, store })
await peer.connectClient(identity, () => undefined)
const { status } = await peer.sendMessage(identity, 'hello')
if (status !== 'delivered') throw new Error(status)
if (how !== 'abruptly') await peer.close()
if (how !== 'by itself') process.exit()
