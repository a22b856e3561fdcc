/** Runs in the loader's own thread: gives out altered modules in the place of what is on the disk. */
import type { InitializeHook, LoadHook } from 'node:module'
import type { AlteredText } from './altered-modules.ts'

const sources = new Map<string, string>()

export const initialize: InitializeHook<readonly AlteredText[]> = texts => {
  for (const { url, source } of texts) sources.set(url, source)
}

export const load: LoadHook = (url, context, nextLoad) => {
  const source = sources.get(url)
  return source === undefined ? nextLoad(url, context) : { format: 'module', source, shortCircuit: true }
}
