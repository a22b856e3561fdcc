/**
 * Where a key lies in ZooKeeper's tree. `homing:main:peers:alice` is `<root>/homing:main:peers:/entries/alice`; beside it, in `marks`, lies
 * a node whose name tells this life of the key from earlier ones.
 */

import type { KeyPlace } from './folders.ts'

/** Names of nodes for texts that no name can be: nothing, and what the escape leaves over. */
const empty = '%'

/** Every text is one name: no slash, no point (it ends the name in `marks`), no character that ZooKeeper refuses. */
export function nameOf(text: string): string {
  return text === '' ? empty : encodeURIComponent(text).replaceAll('.', '%2E').replaceAll('%3A', ':')
}

/** `undefined` for a name that `nameOf` does not make. */
export function textOf(name: string): string | undefined {
  if (name === empty) return ''
  if (!/^(?:[\w:!~*'()-]|%[0-9A-F]{2})+$/.test(name)) return undefined
  try {
    return decodeURIComponent(name)
  } catch (error) {
    if (error instanceof URIError) return undefined
    throw error
  }
}

export class Tree {
  readonly root: string

  constructor(root: string) {
    this.root = root
  }

  folder(folder: string): string {
    return `${this.root}/${nameOf(folder)}`
  }

  entries(folder: string): string {
    return `${this.folder(folder)}/entries`
  }

  marks(folder: string): string {
    return `${this.folder(folder)}/marks`
  }

  entry({ folder, leaf }: KeyPlace): string {
    return `${this.entries(folder)}/${nameOf(leaf)}`
  }

  mark({ folder, leaf }: KeyPlace, mark: string): string {
    return `${this.marks(folder)}/${nameOf(leaf)}.${mark}`
  }
}

/** What a name in `marks` says. */
export function readMarkName(name: string): { leaf: string; mark: string } | undefined {
  const point = name.lastIndexOf('.')
  const leaf = textOf(name.slice(0, Math.max(0, point)))
  return leaf === undefined || point < 0 ? undefined : { leaf, mark: name.slice(point + 1) }
}
