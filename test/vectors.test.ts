/** F21: the golden bytes of each version are kept. A change of a format adds a version and its vectors; it does not change these. */
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { protocolVersions } from '../lib/link/handshake.ts'

t.test('F21: all formats have vectors, of the version that is spoken', async t => {
  const files = readdirSync('test/vectors').filter(name => name.endsWith('.json'))
  t.same(files.sort(), ['body.json', 'frames.json', 'handshake.json', 'protocols.json', 'records.json'])
  for (const file of files) {
    const { version } = JSON.parse(readFileSync(`test/vectors/${file}`, 'utf8')) as { version: string }
    t.equal(version, `v${protocolVersions[1]}`, file)
  }
})
