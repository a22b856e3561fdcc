import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inspect } from 'node:util'
import t from 'tap'
import { openDatastore } from '../../lib/datastores/open.ts'
import { contractOf } from '../contract/datastore.ts'
import { redisTlsUnderTest } from '../contract/redis-drivers.ts'
import { CertificateAuthority } from '../support/certificates.ts'
import { startTlsRedisServer } from '../support/redis-server.ts'

const options = { operationTimeoutMs: 2_000, cluster: 'test' }
const skip = redisTlsUnderTest.missing() ?? false

contractOf(t, redisTlsUnderTest)

t.test('the environment says whom to trust and who we are; nobody else is talked to', { skip }, async t => {
  const [folder, elsewhere] = [t.testdir(), join(t.testdirName, '..', `${t.testdirName}-other`)]
  const ca = new CertificateAuthority(folder)
  await using server = await startTlsRedisServer(ca, folder, '--tls-auth-clients', 'yes', '--requirepass', 'hush-hush')
  const { cert, key } = ca.certify('peer')
  const files = { ca: ca.cert, cert, key }
  const given: Record<string, string> = { HOMING_STORE_PASSWORD: 'hush-hush' }
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(folder, `our-${name}`), text)
    given[`HOMING_STORE_${name.toUpperCase()}`] = join(folder, `our-${name}`)
  }
  t.teardown(() => Object.keys(given).forEach(name => delete process.env[name]))

  await t.rejects(openDatastore(server.url, options), { code: 'DATASTORE', message: /self-signed certificate/ })
  Object.assign(process.env, given)
  {
    await using store = await openDatastore(server.url, options)
    t.type(await store.put('a', new Uint8Array(1)), 'string')
  }
  delete process.env['HOMING_STORE_CERT']
  await t.rejects(openDatastore(server.url, { ...options, operationTimeoutMs: 500 }), { code: 'DATASTORE' })
  process.env['HOMING_STORE_CERT'] = elsewhere
  await t.rejects(openDatastore(server.url, options), { code: 'BAD_OPTION', message: /HOMING_STORE_CERT/ })
  Object.assign(process.env, given, { HOMING_STORE_PASSWORD: 'wrong-password' })
  const error: unknown = await openDatastore(server.url, options).catch((failure: unknown) => failure)
  t.match(error, { code: 'DATASTORE', message: /WRONGPASS/ })
  t.notMatch(inspect(error, { depth: 9, showHidden: true }), /wrong-password|hush-hush/)
})
