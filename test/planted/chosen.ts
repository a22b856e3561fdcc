/** Which planted bugs somebody names. */
import { alterations, type PlantedBug } from './alterations.ts'

/** In the order of `names`; all where there are none. Throws for a name that no bug has. */
export function chosenOf(names: readonly string[]): readonly PlantedBug[] {
  if (names.length === 0) return alterations
  return names.map(name => {
    const alteration = alterations.find(one => one.name === name)
    if (!alteration) throw new Error(`no planted bug is called '${name}'`)
    return alteration
  })
}
