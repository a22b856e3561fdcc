/** Starts a compiled program of lib/cli, or says how to compile it. */
import { existsSync } from 'node:fs'

export async function start(program) {
  const compiled = new URL(`../dist/lib/cli/${program}.js`, import.meta.url)
  if (!existsSync(compiled)) {
    process.stderr.write('homing: it is not built yet: run npm ci (or npm run build) first\n')
    process.exit(1)
  }
  const { main } = await import(compiled.href)
  await main(process.argv.slice(2))
}
