/** Keys by their kind, for engines whose keys have no order: what is listed and watched together lies together. */

/** A key is its folder followed by its leaf. */
export interface KeyPlace {
  readonly folder: string
  readonly leaf: string
}

/** The kinds of records (`homing:<cluster>:<kind>:`), so that peers are listed without their sessions; all other keys are one folder. */
const folderPattern = /^[^:]*:[^:]*:[^:]*:/

export function placeOf(key: string): KeyPlace {
  const folder = folderPattern.exec(key)?.[0] ?? ''
  return { folder, leaf: key.slice(folder.length) }
}

/** The one folder that keys with this prefix lie in; `undefined`: there may be several. */
export function folderOf(prefix: string): string | undefined {
  const { folder } = placeOf(prefix)
  return folder === '' ? undefined : folder
}

/** Whether a folder may hold keys with this prefix. */
export function mayHold(folder: string, prefix: string): boolean {
  return folder === '' || folder.startsWith(prefix) || prefix.startsWith(folder)
}
