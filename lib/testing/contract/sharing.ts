/** Statements on processes that share an engine: what each is told is true for all. */

import { deepStrictEqual, equal, ok } from 'node:assert/strict'
import { ContractProcess, withProcesses } from './process.ts'
import { bytes, passing, states, text, type Scene } from './scene.ts'
import { roundsDefault, type Statement } from './statement.ts'

const processesCount = 4
const claimersEach = 25

export const sharingStatements: readonly Statement[] = [
  shared('what one process was told is written, another one reads', async ({ store, key }, [other]) => {
    for (let i = 0; i < 50; i++) {
      const mine = await store.put(key('a'), bytes(`${i}`))
      equal(await other!.ask('get', key('a')), `${i}`)
      const theirs = await other!.ask('put', key('b'), `${i}`)
      const entry = await store.get(key('b'))
      deepStrictEqual({ text: text(entry), version: entry?.version }, { text: `${i}`, version: theirs })
      ok(mine !== theirs)
    }
  }),

  shared('versions of different processes are never the same', async ({ key }, processes) => {
    const versions = await Promise.all(processes.map(each => each.ask('overwrite', key('a'), 200)))
    equal(new Set(versions.flat()).size, processes.length * 200)
  }),

  shared(
    `of ${processesCount * claimersEach} claimers in ${processesCount} processes, one gets the address, each time`,
    async ({ driver, store, key }, processes) => {
      const keys = Array.from({ length: driver.rounds ?? roundsDefault }, (_, i) => key(`${i}`))
      const won = (await Promise.all(processes.map((each, i) => each.ask('claim', keys, claimersEach, `p${i}`)))).flat()
      deepStrictEqual(won.map(each => each.key).sort(), [...keys].sort())
      const entries = await store.getMany(won.map(each => each.key))
      deepStrictEqual(
        entries.map(entry => ({ value: text(entry), version: entry?.version })),
        won.map(({ value, version }) => ({ value, version })),
      )
    },
    true,
  ),

  shared(
    `of ${processesCount * 10} in ${processesCount} processes that overwrite or remove a version, one does`,
    async ({ driver, store, key }, processes) => {
      const keys = Array.from({ length: driver.rounds ?? roundsDefault }, (_, i) => key(`${i}`))
      const versions = await store.putMany(keys.map(each => ({ key: each, bytes: bytes('0') })))
      const entries = keys.map((each, i) => ({ key: each, version: versions[i]! }))
      const held = await Promise.all(processes.map(each => each.ask('replace', entries, 10)))
      for (const i of keys.keys())
        equal(
          held.reduce((sum, each) => sum + each[i]!, 0),
          1,
        )
    },
    true,
  ),

  shared(
    `${processesCount} processes that count together lose no update`,
    async ({ store, key }, processes) => {
      await store.put(key('count'), bytes('0'))
      await Promise.all(processes.map(each => each.ask('count', key('count'), 100)))
      equal(text(await store.get(key('count'))), String(processes.length * 100))
    },
    true,
  ),

  shared(
    'a process that is killed while it writes leaves whole entries, and all that it was told',
    async ({ driver, store, key }, [other]) => {
      await using killed = await ContractProcess.start(driver)
      const keys = Array.from({ length: 20 }, (_, i) => key(`${i}`))
      await killed.ask('pour', keys, 2_000)
      let acknowledged = 0
      while (acknowledged < 10) {
        acknowledged = await killed.ask('acknowledged')
        await passing(1)
      }
      await killed.kill()
      for (const entry of await store.getMany(keys)) {
        const [first] = entry!.bytes
        ok(entry!.bytes.length === 2_000 && entry!.bytes.every(byte => byte === first))
      }
      // The entries hold the number of their batch, modulo 256: not before the last that was acknowledged, nor long after it.
      for (const entry of await store.getMany(keys)) ok(((entry!.bytes[0]! - acknowledged) & 0xff) < 128)
      equal(typeof (await store.put(keys[0]!, bytes('after'))), 'string')
      equal(await other!.ask('get', keys[0]!), 'after')
    },
  ),
]

/** With other processes; `racing` statements need conditions that decide between them. */
function shared(
  name: string,
  check: (scene: Scene, processes: readonly ContractProcess[]) => Promise<void>,
  racing = false,
): Statement {
  return states(
    name,
    scene => withProcesses(scene.driver, processesCount, processes => check(scene, processes)),
    racing ? ['processes', 'atomicPut'] : ['processes'],
  )
}
