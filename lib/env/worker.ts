/** Code that runs in a thread of its own, beside the main loop. */

import { Worker } from 'node:worker_threads'
import type { BackgroundWorker } from './env.ts'
import { FirstFailure } from './first-failure.ts'

/** Never keeps the process alive. It has failed when it threw or ended before `stop`. */
export function startWorker(module: URL, data: unknown): BackgroundWorker {
  // Our threads hold little, and need no room for much garbage. No bound for the rest: what NODE_OPTIONS loads is loaded there too.
  const worker = new Worker(module, {
    workerData: data,
    resourceLimits: { maxYoungGenerationSizeMb: 1 },
  })
  worker.unref()

  const failure = new FirstFailure()
  let exited = false
  worker.on('error', error => failure.report(error))
  worker.on('messageerror', error => failure.report(error))
  worker.on('exit', code => {
    exited = true
    failure.report(new Error(`worker ${module.pathname} ended with code ${code}`))
  })

  return {
    post: message => worker.postMessage(message),
    onMessage: fn => void worker.on('message', fn),
    onFailure: fn => failure.listen(fn),
    async stop(patienceMs = 0) {
      failure.expectEnd()
      if (patienceMs > 0 && !exited) await ending(worker, patienceMs)
      await worker.terminate()
    },
  }
}

function ending(worker: Worker, ms: number): Promise<void> {
  worker.ref()
  return new Promise(resolve => {
    const timer = setTimeout(resolve, ms)
    worker.once('exit', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
