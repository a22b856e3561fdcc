/** Secrets and certificates of a run: made by who starts first, and handed to the others. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { PeerOptions } from '../../lib/index.ts'
import { CertificateAuthority } from '../../test/support/certificates.ts'

/** How peers know each other: not at all, by a secret, by the listener's certificate, by certificates of both. */
export type Protection = 'plain' | 'secret' | 'tls' | 'mutual tls'

/** Of one peer: JSON, and what `createPeer` takes. */
export type Credentials = Pick<PeerOptions, 'secret' | 'tls'>

/** For the identities, in their order; certificates are made in `folder`. */
export function credentialsFor(protection: Protection, folder: string, identities: readonly string[]): Credentials[] {
  if (protection === 'plain') return identities.map(() => ({}))
  if (protection === 'secret') return identities.map(() => ({ secret: '0123456789abcdef, for measuring only' }))
  const directory = join(folder, 'certificates')
  mkdirSync(directory)
  const authority = new CertificateAuthority(directory)
  const requireClientCertificate = protection === 'mutual tls'
  return identities.map(identity => ({ tls: { ...authority.certify(identity), ca: authority.cert, requireClientCertificate } }))
}
