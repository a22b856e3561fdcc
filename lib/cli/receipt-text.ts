/** A receipt in words, and as data. */
import type { Receipt } from '../index.ts'
import { because, sentence } from './failure.ts'
import { visible } from './text.ts'

export function receiptText(to: string, { status, cause }: Receipt): string {
  return `${visible(to)}: ${status}${cause ? `: ${sentence(cause)}` : ''}`
}

export function receiptData(to: string, { status, code, cause, id }: Receipt): object {
  return { to, status, ...(code !== undefined && { code }), ...(cause && { cause: because(cause) }), id }
}
