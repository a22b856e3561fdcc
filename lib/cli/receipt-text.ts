/** A receipt in words, and as data. */
import type { Peer, Receipt } from '../index.ts'
import { because, sentence } from './failure.ts'
import { visible } from './text.ts'

/**
 * A receipt, and what the way to the holder says about a message that did not get there: a receipt does not tell why a dial failed, and
 * that it is the wrong secret is what somebody at a terminal has to know.
 */
export interface ExplainedReceipt extends Receipt {
  readonly path?: string
}

export async function explained(peer: Peer, to: string, receipt: Receipt): Promise<ExplainedReceipt> {
  if (receipt.status !== 'unreachable' && receipt.status !== 'unknown') return receipt
  const { path } = await peer.explain(to)
  return path?.lastError === undefined ? receipt : { ...receipt, path: path.lastError }
}

export function receiptText(to: string, { status, cause, path }: ExplainedReceipt): string {
  const why = cause ? `: ${sentence(cause)}` : ''
  return `${visible(to)}: ${status}${why}${path === undefined ? '' : `; the last error on the way there: ${visible(path)}`}`
}

export function receiptData(to: string, { status, code, cause, id, path }: ExplainedReceipt): object {
  return {
    to,
    status,
    ...(code !== undefined && { code }),
    ...(cause && { cause: because(cause) }),
    ...(path !== undefined && { path }),
    id,
  }
}
