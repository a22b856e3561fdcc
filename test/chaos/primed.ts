/** Loaded before the program of a process that is to kill itself at a failpoint (`node --import`), in its threads too. */

import { alterModules } from '../support/altered-modules.ts'
import { failpointOf } from './failpoints.ts'
import type { Task } from './task.ts'

const { failpoint } = JSON.parse(process.argv[2]!) as Task

if (failpoint) {
  let left = failpoint.times
  // No handler and no last word: as if the power was gone at that line.
  const pass = (): void => {
    if (--left === 0) process.kill(process.pid, 'SIGKILL')
  }
  Object.assign(globalThis, { [Symbol.for('homing.failpoint')]: pass })
  alterModules([failpointOf(failpoint.name)])
}
