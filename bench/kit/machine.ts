/** Where it was measured: figures of another machine, or of another day, are not comparable. */
import { readFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem, type } from 'node:os'
import { version } from '../../lib/version.ts'
import { installedPeers } from './peers.ts'

export interface Machine {
  readonly cpus: number
  readonly model: string
  readonly memoryGiB: number
  readonly kernel: string
  readonly node: string
  readonly homing: string
  readonly congestionControl: string
  /** How many processes wanted a processor in the minute before: above a tenth or so, something else was measured too. */
  readonly loadBefore: number
  readonly peers: Readonly<Record<string, string>>
}

export function thisMachine(): Machine {
  const processors = cpus()
  return {
    cpus: processors.length,
    model: processors[0]?.model.trim() ?? 'unknown',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: `${type()} ${release()}`,
    node: process.version,
    homing: version,
    congestionControl: congestionControl(),
    loadBefore: Math.round(loadavg()[0]! * 10) / 10,
    peers: installedPeers(),
  }
}

/** `bbr` caps the bytes on loopback, others do not. */
function congestionControl(): string {
  try {
    return readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'unknown' // not Linux
    throw error
  }
}

export function machineText(machine: Machine): string {
  const peers = Object.entries(machine.peers).map(([name, version]) => `${name} ${version}`)
  return [
    `${machine.cpus} x ${machine.model}, ${machine.memoryGiB} GiB, ${machine.kernel}, Node ${machine.node}, TCP ${machine.congestionControl}`,
    `homing ${machine.homing}; load before ${machine.loadBefore}; ${peers.length > 0 ? peers.join(', ') : 'no peers installed'}`,
  ].join('\n')
}
