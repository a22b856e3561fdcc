/** What a caller may say with a send, a request or a call. */
export interface SendOptions {
  /** The address of this peer's client that sends; the receiver sees it. */
  from?: string
  /** `delivered` (default): the receipt says what became of it. `sent`: it comes as soon as the message is in the outbox. */
  level?: 'delivered' | 'sent'
  /** When the receipt is due at the latest, ms from now. */
  deadlineMs?: number
  /** How long an absent address is waited for, ms; default 0. */
  waitMs?: number
  /** Gives the send up. What had left is `unknown`. */
  signal?: AbortSignal
}

export type RequestOptions = Omit<SendOptions, 'level'>

export interface CallOptions {
  deadlineMs?: number
  signal?: AbortSignal
}
