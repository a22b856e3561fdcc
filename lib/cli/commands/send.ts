/** `homing send`: one message to an address, or many, and what became of each. */
import { text as readAll } from 'node:stream/consumers'
import { Option } from 'commander'
import type { Peer, SendOptions } from '../../index.ts'
import { addClusterOptions, type ClusterFlags } from '../cluster-options.ts'
import type { Ending } from '../ending.ts'
import { joinBriefly } from '../join.ts'
import { Printer } from '../printer.ts'
import { Progress } from '../progress.ts'
import { explained, type ExplainedReceipt, receiptData, receiptText } from '../receipt-text.ts'
import type { Define } from '../run.ts'
import { msText, readBody } from '../text.ts'
import { oneOrMore, zeroOrMore } from '../typed-number.ts'
import { isSuccess, Volley, type VolleyResult } from '../volley.ts'

interface SendFlags extends ClusterFlags {
  count: number
  rate?: number
  from?: string
  waitMs: number
  deadlineMs: number
  level: 'delivered' | 'sent'
  concurrency: number
  json?: true
}

export const sendCommand: Define = (program, run) => {
  const command = program
    .command('send')
    .description('Send a message to a client and say what became of it. Exits with 0 only if all were delivered.')
    .argument('<address>', 'the client to send to')
    .argument('<body>', "JSON if it can be read as such, else text; '-' reads it from stdin")
    .option('--count <n>', 'send it so many times', oneOrMore, 1)
    .option('--rate <n>', 'at most so many a second', oneOrMore)
    .option('--concurrency <n>', 'at most so many under way at once', oneOrMore, 64)
    .option('--from <address>', 'the address to send from')
    .option('--wait-ms <ms>', 'how long an absent client is waited for', zeroOrMore, 0)
    .option('--deadline-ms <ms>', 'when the receipt is due at the latest', zeroOrMore, 10_000)
    .addOption(new Option('--level <level>', 'when the receipt comes').choices(['delivered', 'sent']).default('delivered'))
    .option('--json', 'print JSON')
  addClusterOptions(command, { logLevel: 'warn', broker: true })
  command.addHelpText(
    'after',
    '\nExample:\n  homing send alice \'{"text":"hi"}\'\n  homing send alice hi --count 10000 --rate 1000',
  )
  command.action(async (address: string, typed: string, flags: SendFlags) => {
    const body = readBody(typed === '-' ? (await readAll(process.stdin)).replace(/\n$/, '') : typed)
    run.code = await send(address, body, flags, run.ending)
  })
}

async function send(address: string, body: unknown, flags: SendFlags, ending: Ending): Promise<number> {
  const { from, waitMs, level, count } = flags
  const options: SendOptions = {
    waitMs,
    level,
    deadlineMs: Math.max(flags.deadlineMs, waitMs),
    signal: ending.signal,
    ...(from !== undefined && { from }),
  }
  const printer = new Printer(flags.json === true)
  await using peer = await joinBriefly(flags, ending)
  if (count > 1) return await sendMany(peer, address, body, options, flags, printer, ending)
  const receipt = await explained(peer, address, await peer.sendMessage(address, body, options))
  printer.print(receiptText(address, receipt), receiptData(address, receipt))
  return isSuccess(receipt) ? 0 : 1
}

async function sendMany(
  peer: Peer,
  address: string,
  body: unknown,
  options: SendOptions,
  { count, concurrency, rate }: SendFlags,
  printer: Printer,
  ending: Ending,
): Promise<number> {
  const volley = new Volley({ count, concurrency, perSecond: rate, send: () => peer.sendMessage(address, body, options) }, ending)
  let result: VolleyResult
  {
    using _ = new Progress(() => `${volley.answered} of ${count} messages`)
    result = await volley.run()
  }
  const failures = await Promise.all(Object.values(result.failures).map(receipt => explained(peer, address, receipt)))
  printer.print(summaryText(address, result, failures, count), summaryData(address, result, failures, count))
  return result.sent === count && result.latencies.count === count ? 0 : 1
}

/** Every message is in exactly one of the numbers; `failures` holds the first receipt of each kind. */
function summaryText(
  address: string,
  { sent, byStatus, latencies, tookMs }: VolleyResult,
  failures: readonly ExplainedReceipt[],
  count: number,
): string {
  const parts = Object.entries(byStatus).map(([status, number]) => `${number} ${status}`)
  const lines = [`${sent} sent: ${parts.join(', ') || 'none'}`]
  if (sent < count) lines.push(`interrupted: ${count - sent} of ${count} were not sent`)
  if (latencies.count > 0) {
    const perSecond = Math.round((sent * 1_000) / tookMs)
    lines.push(`p50 ${msText(latencies.quantile(0.5)!)}, p99 ${msText(latencies.quantile(0.99)!)}, ${perSecond} messages/s`)
  }
  for (const receipt of failures) lines.push(`the first of these: ${receiptText(address, receipt)}`)
  return lines.join('\n')
}

function summaryData(
  address: string,
  { sent, byStatus, latencies, tookMs }: VolleyResult,
  failures: readonly ExplainedReceipt[],
  count: number,
): object {
  const times = latencies.count > 0 && { p50Ms: latencies.quantile(0.5), p99Ms: latencies.quantile(0.99) }
  return {
    to: address,
    asked: count,
    sent,
    byStatus,
    ...times,
    tookMs,
    failures: failures.map(receipt => receiptData(address, receipt)),
  }
}
