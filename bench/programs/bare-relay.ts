/** A relay on bare sockets: copies each frame into one buffer for each destination, and keeps nothing. */
import type { Socket } from 'node:net'
import type { Role } from '../kit/role.ts'
import { FrameCopier, FrameReader } from './bare-frames.ts'
import { listen, portOf } from './bare-sockets.ts'

async function broker(): Promise<Role> {
  const copiers: FrameCopier[] = []
  let forwarded = 0
  const toDestinations = await listen(socket => {
    socket.resume()
    copiers.push(new FrameCopier(socket))
  })
  const fromSources = await listen(socket => {
    const reader = new FrameReader((tag, chunk, start, _payload, end) => {
      copiers[tag]!.copy(chunk, start, start + ((end - start + 7) & ~7))
      forwarded++
    })
    socket.on('data', chunk => {
      reader.read(chunk)
      for (const copier of copiers) copier.flush()
      waitForRoom(socket, copiers)
    })
  })
  return {
    reach: { sources: portOf(fromSources), destinations: portOf(toDestinations) },
    count: () => forwarded,
    close: async () => {
      fromSources.close()
      toDestinations.close()
    },
  }
}

/** One slow destination stops the source: bare Node has no better answer. */
function waitForRoom(source: Socket, copiers: readonly FrameCopier[]): void {
  const waits = copiers.map(copier => copier.room()).filter(wait => wait !== undefined)
  if (waits.length === 0) return
  source.pause()
  void Promise.all(waits).then(() => source.resume())
}

export const roles = { broker }
