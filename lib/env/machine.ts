/** A text that is the same for processes that share loopback. */

import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** Host name, boot id and network namespace: those of them that this system has. */
export function machineText(): string {
  return [
    hostname(),
    ...whereItExists(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()),
    ...whereItExists(() => readlinkSync('/proc/self/ns/net')),
  ].join(' ')
}

function whereItExists(read: () => string): string[] {
  try {
    return [read()]
  } catch {
    return [] // not Linux, or hidden from us: the host name has to do
  }
}
