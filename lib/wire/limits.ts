/** Sizes that both ends of a link agree on by the protocol's version. */

/** Bytes of an address or identity, UTF-8. Leaves room for the key's prefix in the datastore of the narrowest keys. */
export const nameBytesMax = 190
/** Largest body, bytes encoded, unless configured. */
export const bodyBytesDefault = 1 << 20
/** No configuration allows more than this, bytes. */
export const bodyBytesCeiling = 64 << 20
/** What a frame may be longer than the largest body, bytes: its header, addresses and ids. */
export const frameOverheadBytes = 4096
/** Largest frame before the handshake ended, bytes. */
export const handshakeBytesMax = 4096
