/** The simulated cluster itself. */
import t from 'tap'
import { simulateCluster } from '../../lib/testing/index.ts'

t.test('three peers in ten lines', async t => {
  await using cluster = await simulateCluster({ seed: 1 })
  const a = await cluster.peer('a')
  const b = await cluster.peer('b')
  await cluster.peer('c')
  const got: unknown[] = []
  await cluster.settle(b.connectClient('bob', message => got.push(message.body)))
  const receipt = await cluster.settle(a.sendMessage('bob', 'hi'))
  t.equal(receipt.status, 'delivered')
  t.same(got, ['hi'])
  await cluster.until(() => a.members().length === 3, 4_000)
  t.same(
    a
      .members()
      .map(({ identity }) => identity)
      .sort(),
    ['a', 'b', 'c'],
  )
})

async function story(seed: number): Promise<string> {
  await using cluster = await simulateCluster({ seed, brokers: ['hub'], network: { jitterMs: 3 } })
  const a = await cluster.peer('a')
  const b = await cluster.peer('b')
  await cluster.settle(b.connectClient('bob', () => {}))
  for (let i = 0; i < 20; i++) void a.sendMessage('bob', i)
  await cluster.run(5)
  cluster.reset('b', 'hub')
  await cluster.run(3_000)
  cluster.kill('b')
  void a.sendMessage('bob', 'late')
  await cluster.restart('b')
  await cluster.run(20_000)
  return cluster.history.toString()
}

t.test('the same seed gives the same history', async t => {
  const first = await story(7)
  t.equal(await story(7), first)
  t.not(await story(8), first)
})

t.test('a name that runs may not be started twice, and one that never did cannot be killed', async t => {
  await using cluster = await simulateCluster({ seed: 1 })
  await cluster.peer('a')
  t.throws(() => cluster.startPeer('a'), /runs already/)
  t.throws(() => cluster.kill('b'), /nothing is called/)
})
