/** The kinds of frames: the byte that follows a frame's length. docs/protocol.md describes each. */

// Handshake: once, first, in this order. Payload: one msgpack map.
export const HELLO = 1
export const WELCOME = 2
export const PROOF = 3
export const READY = 4
export const REJECT = 5

// The link itself.
export const PING = 8
export const PONG = 9
export const CLOSE = 10

// Ways through a broker: a label of this link stands for (source, destination).
export const ROUTE = 16
export const UNROUTE = 17

// A channel, not numbered.
export const RESUME = 32
export const ACK = 33
export const LEAVE = 34

// A channel, numbered: kept until acknowledged, sent again after a break, accepted once.
export const MESSAGE = 48
export const REQUEST = 49
export const REPLY = 50
export const CANCEL = 51
export const REFUSE = 52
export const ROOM = 53
export const TELL = 54
export const CALL = 55
/** A message or request whose sender gave it up before it was sent again: read for its addresses' numbers, not delivered. */
export const VOID = 56

/** From here on frames belong to a channel and carry a label. */
export const FIRST_OF_CHANNEL = 32
/** From here on frames carry a sequence number. */
export const FIRST_NUMBERED = 48
