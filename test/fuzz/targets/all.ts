/** All targets, from the bytes up to whole peers. */
import type { Target } from '../target.ts'
import { bodyTarget } from './body.ts'
import { brokerTarget } from './broker.ts'
import { channelTarget } from './channel.ts'
import { directoryTarget } from './directory.ts'
import { entriesTarget } from './entries.ts'
import { framesTarget } from './frames.ts'
import { handshakeTarget } from './handshake.ts'
import { linkTarget } from './link.ts'
import { peerTarget } from './peer.ts'
import { protocolsTarget } from './protocols.ts'
import { recordsTarget } from './records.ts'
import { relayTarget } from './relay.ts'
import { splitterTarget } from './splitter.ts'
import { textsTarget } from './texts.ts'

export const targets: readonly Target[] = [
  splitterTarget,
  framesTarget,
  bodyTarget,
  handshakeTarget,
  linkTarget,
  channelTarget,
  relayTarget,
  recordsTarget,
  entriesTarget,
  protocolsTarget,
  directoryTarget,
  textsTarget,
  peerTarget,
  brokerTarget,
]
