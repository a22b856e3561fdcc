/**
 * Modules of lib with a piece of their text replaced as they are loaded: how a test plants a bug, or kills a process at a certain line,
 * without a line for it in lib.
 */
import { readFileSync } from 'node:fs'
import { register } from 'node:module'

export interface Alteration {
  /** `kebab-case`, by which it is asked for. */
  readonly name: string
  /** What becomes of the module, in one sentence. */
  readonly what: string
  /** Path of the compiled module in dist/lib: `mesh/channel.js`. */
  readonly module: string
  /** Text of the compiled module that occurs in it exactly once. */
  readonly find: string
  readonly replace: string
}

/** What the loader's thread is told. */
export interface AlteredText {
  readonly url: string
  readonly source: string
}

/** Names of the alterations whose modules were loaded in this thread. */
const loaded = Symbol.for('homing.alterations')

/** The altered text of a module. Throws when what is to be replaced does not occur exactly once. */
export function alteredSource(source: string, { name, module, find, replace }: Alteration): string {
  const times = find === '' ? 0 : source.split(find).length - 1
  if (times !== 1)
    throw new Error(`alteration '${name}': its text occurs ${times} times in dist/lib/${module}, not once:\n${find}`)
  return source.replace(find, () => replace)
}

/** The module as compiled, with these alterations of it. Throws as `alteredSource` does. */
export function alteredModule(module: string, alterations: readonly Alteration[]): string {
  return alterations.reduce(alteredSource, readFileSync(urlOf(module), 'utf8'))
}

/**
 * From now on modules that are imported for the first time are altered; before anything of lib is. For the code of a program: start it by
 * `node --import` with a module that calls this, and its threads get it as well. Throws as `alteredSource` does, whether or not the module
 * is ever imported.
 */
export function alterModules(alterations: readonly Alteration[]): void {
  const texts = [...new Set(alterations.map(({ module }) => module))].map((module): AlteredText => {
    const own = alterations.filter(alteration => alteration.module === module)
    const names = own.map(({ name }) => JSON.stringify(name)).join(', ')
    const mark = `\n;(globalThis[Symbol.for('${loaded.description}')] ??= []).push(${names})\n`
    return { url: urlOf(module).href, source: alteredModule(module, own) + mark }
  })
  register(new URL('altered-module-hooks.js', import.meta.url), { data: texts })
}

/** Which alterations are in effect in this thread: their modules have been imported. */
export function alterationsInEffect(): readonly string[] {
  return (globalThis as { [loaded]?: string[] })[loaded] ?? []
}

function urlOf(module: string): URL {
  return new URL(`../../lib/${module}`, import.meta.url)
}
