/** A process that makes a peer on LMDB, says how long that took, and ends. */
const fromMs = performance.now()
const { createPeer } = await import('../../lib/index.ts')
const importedMs = performance.now()
const peer = await createPeer({ identity: 'started', store: `lmdb:${process.argv[2]}` })
process.stdout.write(`${JSON.stringify({ importMs: importedMs - fromMs, callMs: performance.now() - importedMs })}\n`)
await peer.close()
