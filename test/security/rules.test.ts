/** What an allow-list may look like, and what its patterns mean. */
import fc from 'fast-check'
import t from 'tap'
import { Access } from '../../lib/access/access.ts'
import { matcher } from '../../lib/access/pattern.ts'
import { readAllow } from '../../lib/access/rules.ts'
import { createPeer } from '../../lib/index.ts'

const seed = Number(process.env['HOMING_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed} (HOMING_SEED repeats it)`)

t.test('patterns', async t => {
  const table: [pattern: string, fits: string[], fitsNot: string[]][] = [
    ['bob', ['bob'], ['', 'bo', 'bobo', 'Bob']],
    ['*', ['', 'anything', 'a*b', 'ä/ö'], []],
    ['user:*', ['user:', 'user:1'], ['user', 'xuser:1']],
    ['*:admin', ['a:admin', ':admin'], ['a:admins']],
    ['a*b*c', ['abc', 'a..b..c', 'abbc'], ['ac', 'acb', 'ab']],
    ['ab*ba', ['abba', 'ab-ba'], ['aba', 'ab']],
    ['a*a*a', ['aaa', 'axaxa'], ['aa']],
    ['.+(x)[y]', ['.+(x)[y]'], ['aax']],
    ['a**b', ['ab', 'axb'], ['a']],
  ]
  for (const [pattern, fits, fitsNot] of table) {
    for (const text of fits) t.equal(matcher([pattern])(text), true, `${pattern} ${text}`)
    for (const text of fitsNot) t.equal(matcher([pattern])(text), false, `${pattern} ${text}`)
  }
  t.equal(matcher(['x', 'b*'])('bob'), true, 'any of several')
})

t.test('patterns mean what the regular expression of the same stars means', async () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '*', '.'), maxLength: 12 })
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', 'b', '*', '.'), minLength: 1, maxLength: 6 }), text, (pattern, text) => {
      const escaped = pattern.split('*').map(piece => piece.replaceAll('.', '\\.'))
      return matcher([pattern])(text) === new RegExp(`^${escaped.join('[^]*')}$`).test(text)
    }),
    { seed, numRuns: 20_000 },
  )
})

t.test('a pattern with many stars is no way to keep the peer busy', async t => {
  const fits = matcher(['a*'.repeat(50) + 'b'])
  const began = performance.now()
  for (let i = 0; i < 1_000; i++) fits('a'.repeat(190))
  t.ok(performance.now() - began < 1_000, `${performance.now() - began} ms for 1,000 answers`)
})

t.test('a list that is not as it must be is BAD_OPTION, and names the rule', async t => {
  const good = { who: 'a', actions: 'send', addresses: '*' }
  const bad: [unknown, RegExp][] = [
    ['all', /list of rules/],
    [{ who: 'a' }, /list of rules/],
    [[good, 'x'], /rule 2 is not/],
    [[good, null], /rule 2 is not/],
    [[{ ...good, who: '' }], /rule 1: who/],
    [[{ ...good, who: [] }], /rule 1: who/],
    [[{ ...good, who: [1] }], /rule 1: who/],
    [[{ ...good, addresses: undefined }], /rule 1: addresses/],
    [[{ ...good, actions: 'sent' }], /there is no action 'sent'/],
    [[{ ...good, actions: ['send', '__proto__'] }], /there is no action '__proto__'/],
    [[{ ...good, address: 'bob' }], /there is no 'address'; it has who, actions, addresses/],
    [Array.from({ length: 10_001 }, () => good), /at most 10000/],
  ]
  for (const [allow, message] of bad) t.throws(() => readAllow(allow), { code: 'BAD_OPTION', message })
  const options = { identity: 'a', store: 'memory:rules' }
  await t.rejects(createPeer({ ...options, allow: [{ ...good, actions: 'sent' as 'send' }] }), { code: 'BAD_OPTION' })
  await t.rejects(createPeer({ ...options, allow: [], authorize: () => true }), {
    code: 'BAD_OPTION',
    message: /exclude each other/,
  })
  await t.rejects(createPeer({ ...options, authorize: [] as never }), { code: 'BAD_OPTION' })
})

t.test('an empty list denies all', async t => {
  const may = readAllow([])
  t.equal(may('a', 'send', 'bob'), false)
})

t.test('answers are remembered within bounds, and forgotten with the list', async t => {
  let asked = 0
  const access = new Access(
    () => ++asked > 0,
    error => t.fail(String(error)),
  )
  const grants = access.of('a')
  for (let round = 0; round < 2; round++) for (let i = 0; i < 1_000; i++) grants.may('send', `address-${i}`)
  t.equal(asked, 1_000)
  for (let i = 0; i < 25_000; i++) grants.may('send', `made-up-${i}`)
  access.replace([])
  t.equal(grants.may('send', 'address-1'), false)
})
