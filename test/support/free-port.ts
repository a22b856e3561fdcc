/** A port of loopback that nobody listens on: for programs that cannot choose one by themselves, and those that come back to theirs. */

import { once } from 'node:events'
import { createServer } from 'node:net'

/** Below those that systems give to whoever asks for any: so nobody gets it meanwhile who does not ask here. Five digits each. */
const [lowest, highest] = [10_100, 32_700]

export async function freePort(): Promise<number> {
  for (;;) {
    const port = lowest + Math.floor(Math.random() * (highest - lowest))
    if (await isFree(port)) return port
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  try {
    await once(server.listen(port, '127.0.0.1'), 'listening')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') return false
    throw error
  }
  server.close()
  await once(server, 'close')
  return true
}
