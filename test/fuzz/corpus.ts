/** Inputs that are kept in the repository: `corpus/<target>/<name>.hex`, each what was once found, or what is worth trying each time. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Finding } from './fuzzer.ts'

/** Of the sources, also where the compiled program runs. */
const folder = join('test', 'fuzz', 'corpus')

export interface KeptInput {
  readonly file: string
  readonly bytes: Buffer
}

export function readHex(text: string): Buffer {
  // What stands behind a # is for people.
  return Buffer.from(text.replace(/#.*/g, '').replace(/\s+/g, ''), 'hex')
}

export function keptInputs(target: string): KeptInput[] {
  const place = join(folder, target)
  if (!existsSync(place)) return []
  const files = readdirSync(place).filter(name => name.endsWith('.hex'))
  return files.sort().map(name => ({ file: join(place, name), bytes: readHex(readFileSync(join(place, name), 'utf8')) }))
}

/** Writes it to the corpus; returns the file. */
export function keepFinding({ target, what, input }: Finding): string {
  const place = join(folder, target)
  mkdirSync(place, { recursive: true })
  const file = join(place, `${createHash('sha256').update(input).digest('hex').slice(0, 12)}.hex`)
  const lines = input.toString('hex').match(/.{1,120}/g) ?? []
  writeFileSync(file, `# ${what}\n${lines.join('\n')}\n`)
  return file
}
