/** F27: a member that answers what somebody else was asked. */
import { once } from 'node:events'
import t from 'tap'
import { realEnv } from '../../lib/env/real.ts'
import { createPeer } from '../../lib/index.ts'
import { Link, type LinkHandler } from '../../lib/link/link.ts'
import { linkDefaults } from '../../lib/link/options.ts'
import { Channel, channelDefaults, type ChannelHandler } from '../../lib/mesh/channel.ts'
import type { Path } from '../../lib/mesh/path.ts'
import { encodeBody } from '../../lib/wire/body.ts'
import { REPLY } from '../../lib/wire/kinds.ts'

/** A member with a channel to the run at `endpoint`, on which it sends what it likes. */
async function member(endpoint: string): Promise<{ channel: Channel; link: Link; up: Promise<unknown> }> {
  const env = realEnv()
  const handler: ChannelHandler = {
    accept: () => 0,
    room() {},
    acknowledged() {},
    leaving() {},
    down() {},
    ended() {},
    writable: () => up(),
  }
  let up: () => void
  const isUp = new Promise<void>(resolve => (up = resolve))
  return new Promise((resolve, reject) => {
    let channel: Channel
    const frames: LinkHandler = {
      opened(link) {
        channel = new Channel(env, link.remote, channelDefaults, handler)
        const path: Path = {
          label: 0,
          kind: 'direct',
          name: '',
          pendingBytes: 0,
          write: bytes => link.write(bytes),
          abandon() {},
        }
        channel.attach(path)
        resolve({ channel, link, up: isUp })
      },
      frame: (_link, buffer, start, end) => void channel.receive(buffer, start, end),
      batch: () => channel.afterBatch(),
      closed: (_link, reason, error) => reject(error ?? new Error(reason)),
    }
    const introduce = () => ({ identity: 'mallory', incarnation: '1', role: 'peer' as const, capabilities: [] })
    Link.dial(
      env,
      { options: linkDefaults, cluster: 'homing', secrets: [], tls: undefined, introduce },
      endpoint,
      undefined,
      frames,
    )
  })
}

t.test('F27: a reply counts only from the run that was asked', async t => {
  await using asker = await createPeer({ identity: 'a', store: 'memory:forged-reply' })
  await using holder = await createPeer({ identity: 'b', store: 'memory:forged-reply' })
  let answer = (_reply: string): void => {}
  const asked = new Promise<void>(resolve => {
    void holder.connectClient('bob', {
      request: () => {
        resolve()
        return new Promise<string>(reply => (answer = reply))
      },
    })
  })
  const reply = asker.request('bob', 'what?', { waitMs: 5_000 })
  await asked

  const { channel, link, up } = await member(asker.endpoints[0]!)
  await up
  for (let call = 0; call < 20; call++) {
    const head = Buffer.alloc(5)
    head.writeUInt32BE(call)
    await new Promise<void>(accepted => {
      channel.send(REPLY, Buffer.concat([head, encodeBody('forged')]), {
        accepted,
        refused: () => accepted(),
        lost: () => accepted(),
      })
    })
  }
  answer('true')
  t.equal(await reply, 'true')
  const left = once(asker, 'linkDown')
  link.close('local')
  await left
})
