/** What a process that is not Node has used. */
import { readFileSync } from 'node:fs'

/** The kernel counts CPU time in these, microseconds. */
const tickUs = 10_000

/** User and system time of another process. @see proc_pid_stat(5) */
export function cpuUsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * tickUs
}
