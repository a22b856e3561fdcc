/** `npm run fuzz`: feeds the targets in turns until the time is over, prints figures, keeps what it finds. */
import { existsSync, readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { keepFinding, keptInputs, readHex } from './corpus.ts'
import { Fuzzer, kindOf, verdict, type Finding } from './fuzzer.ts'
import { Unheard } from './oracles.ts'
import type { Target } from './target.ts'
import { targets } from './targets/all.ts'
import { Watchdog } from './watchdog.ts'

const usage = `npm run fuzz -- [--minutes M | --executions N] [--target NAME ...] [--seed S] [--json]
npm run fuzz -- --target NAME --input FILE|HEX

Feeds what comes from outside with inputs that were changed at random. Without --minutes or --executions: one minute, over all targets.
What is found is made smaller, printed, and kept in test/fuzz/corpus. Ctrl-C ends it and prints the figures so far.

--minutes M      for so long, the time shared among the targets
--executions N   so many inputs, in turns of equal time
--target NAME    only this one; may be given several times
--seed S         repeats the inputs of each target (the order of the turns may differ)
--input          one input, as hex or as a file of the corpus: says what it does wrong
--json           the figures as JSON
Targets:
${targets.map(({ name, about }) => `  ${name.padEnd(12)} ${about}`).join('\n')}
`

interface Given {
  readonly minutes: number
  readonly executions: number
  readonly seed: string
  readonly chosen: readonly Target[]
  readonly input: string | undefined
  readonly json: boolean
}

function wrong(what: string): never {
  process.stderr.write(`${what}\n\n${usage}`)
  process.exit(2)
}

function count(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  return value > 0 && Number.isFinite(value) ? value : wrong(`--${name} is a number above 0`)
}

function parsed(): ReturnType<typeof parseGiven> {
  try {
    return parseGiven()
  } catch (error) {
    wrong((error as Error).message)
  }
}

function parseGiven() {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  const options = { minutes: text, executions: text, seed: text, input: text, json: flag, help: { ...flag, short: 'h' }, target: { ...text, multiple: true } } as const // prettier-ignore
  return parseArgs({ options }).values
}

function given(): Given {
  const values = parsed()
  if (values.help) {
    process.stdout.write(usage)
    process.exit(0)
  }
  const names = values.target ?? targets.map(({ name }) => name)
  const chosen = names.map(name => targets.find(target => target.name === name) ?? wrong(`no target is called '${name}'`))
  const executions = count('executions', values.executions)
  const minutes = count('minutes', values.minutes) ?? (executions === undefined ? 1 : Infinity)
  if (values.input !== undefined && chosen.length !== 1) wrong('--input goes with one --target')
  const seed = values.seed ?? String(Math.floor(Math.random() * 2 ** 31))
  return { minutes, executions: executions ?? Infinity, seed, chosen, input: values.input, json: values.json === true }
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Says what one input does. */
async function tryOne(target: Target, input: string): Promise<void> {
  const text = existsSync(input) ? readFileSync(input, 'utf8') : input
  using unheard = new Unheard()
  const failure = await verdict(target, readHex(text), unheard)
  if (!failure) return say(`${target.name}: nothing wrong`)
  say(`${target.name}: ${failure.what}`)
  say(failure.error instanceof Error ? (failure.error.stack ?? '') : String(failure.error))
  process.exitCode = 1
}

function report({ target, what, input, error, needsMore }: Finding, seed: string, executions: number): void {
  say(`\n${target}: ${what}`)
  say(error instanceof Error ? (error.stack ?? String(error)) : String(error))
  if (error instanceof Error && error.cause instanceof Error) say(`cause: ${error.cause.stack ?? kindOf(error.cause)}`)
  say(input.toString('hex'))
  if (needsMore)
    return say(`again, with what came before: npm run fuzz -- --target ${target} --seed ${seed} --executions ${executions}`)
  const file = keepFinding({ target, what, input, error, needsMore })
  say(`again: npm run fuzz -- --target ${target} --input ${file}`)
}

/** How long one target goes on before the next has its turn, ms. */
const turnMs = 1_000

/** Frames of a stack: refusals are most of what is thrown here, and longer stacks take longer than all else. --input shows them whole. */
const framesOfStack = 4

/** What is left of the whole is shared among the targets of this round. */
async function fuzz({ minutes, executions, seed, chosen, json }: Given): Promise<void> {
  Error.stackTraceLimit = framesOfStack
  const watchdog = new Watchdog()
  const fuzzers = chosen.map(target => {
    const kept = keptInputs(target.name).map(({ bytes }) => bytes)
    return new Fuzzer(target, [...target.seeds(), ...kept], seed, watchdog)
  })
  const began = performance.now()
  const endMs = began + minutes * 60_000
  let stopped = false
  process.once('SIGINT', () => {
    stopped = true
    say('ending: once more ends it at once')
  })
  const done = (): number => fuzzers.reduce((sum, fuzzer) => sum + fuzzer.executions, 0)
  const isOver = (): boolean => stopped || performance.now() >= endMs || done() >= executions
  say(`seed ${seed}`)
  for (let saidMs = began; !isOver();) {
    for (const fuzzer of fuzzers) {
      if (isOver()) break
      const known = fuzzer.findings.length
      const ms = Math.min(turnMs, Math.max(20, (endMs - performance.now()) / fuzzers.length))
      await fuzzer.run(executions - done(), ms, () => stopped)
      for (const finding of fuzzer.findings.slice(known)) report(finding, seed, fuzzer.executions)
    }
    if (performance.now() - saidMs < 5_000) continue
    saidMs = performance.now()
    const seconds = (saidMs - began) / 1_000
    say(`${seconds.toFixed(0)} s, ${done()} executions, ${(done() / seconds).toFixed(0)}/s, ${found(fuzzers)} findings`)
  }
  for (const fuzzer of fuzzers) await fuzzer.close()
  await watchdog.stop()
  print(fuzzers, seed, json)
  if (found(fuzzers) > 0) process.exitCode = 1
}

function found(fuzzers: readonly Fuzzer[]): number {
  return fuzzers.reduce((sum, { findings }) => sum + findings.length, 0)
}

function print(fuzzers: readonly Fuzzer[], seed: string, json: boolean): void {
  const rows = fuzzers.map(({ target, executions, busyMs, words, findings }) => ({
    target: target.name,
    executions,
    seconds: Number((busyMs / 1_000).toFixed(1)),
    perSecond: busyMs > 0 ? Math.round((executions * 1_000) / busyMs) : 0,
    behaviours: words,
    findings: findings.map(({ what, input }) => ({ what, hex: input.toString('hex') })),
  }))
  if (json) {
    process.stdout.write(`${JSON.stringify({ seed, targets: rows }, undefined, 1)}\n`)
    return
  }
  for (const { target, executions, seconds, perSecond, behaviours, findings } of rows) {
    const figures = [
      `${executions} executions`,
      `${seconds} s`,
      `${perSecond}/s`,
      `${behaviours} behaviours`,
      `${findings.length} findings`,
    ]
    process.stdout.write(`${target.padEnd(12)} ${figures.join(', ')}\n`)
  }
  const sum = rows.reduce((all, { executions }) => all + executions, 0)
  process.stdout.write(`${'all'.padEnd(12)} ${sum} executions, ${found(fuzzers)} findings\n`)
}

const asked = given()
if (asked.input === undefined) await fuzz(asked)
else await tryOne(asked.chosen[0]!, asked.input)
