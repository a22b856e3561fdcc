/** Outlives the command by a moment: when that is gone, however it went, whatever it started and did not end is killed. */

import { createInterface } from 'node:readline'

// It is asked to end by the end of its input alone: signals are for the command.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

const alive = new Set<number>()

/** `+123`: there is a process 123. `-123`: it is gone. */
for await (const line of createInterface({ input: process.stdin })) {
  const pid = Number(line.slice(1))
  if (line.startsWith('+')) alive.add(pid)
  else alive.delete(pid)
}

for (const pid of alive) {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}
