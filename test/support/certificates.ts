/** Certificates for tests, made by openssl: Node can make keys, but no X.509. */

import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Certified {
  cert: string
  key: string
}

/** False, or why tests that need certificates are skipped: what tap takes as `skip`. */
export const withoutCertificates: string | false =
  spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed: no certificates, no TLS to test'

/** An authority that signs, for two days, in an empty directory of its own. */
export class CertificateAuthority {
  readonly cert: string
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
    this.#openssl('req', '-x509', ...freshKey('ca'), '-out', 'ca.pem', '-days', '2', '-subj', '/CN=test authority')
    this.cert = this.#read('ca.pem')
  }

  /** For a party of that common name, on loopback and `localhost`. */
  certify(name: string): Certified {
    writeFileSync(join(this.#directory, 'names'), `subjectAltName=DNS:localhost,DNS:${name},IP:127.0.0.1,IP:::1\n`)
    this.#openssl('req', ...freshKey(name), '-out', `${name}.csr`, '-subj', `/CN=${name}`)
    const signing = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'names']
    this.#openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, ...signing)
    return { cert: this.#read(`${name}.pem`), key: this.#read(`${name}.key`) }
  }

  #openssl(...words: string[]): void {
    execFileSync('openssl', words, { cwd: this.#directory, stdio: 'pipe' })
  }

  #read(file: string): string {
    return readFileSync(join(this.#directory, file), 'utf8')
  }
}

function freshKey(name: string): string[] {
  return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`]
}
