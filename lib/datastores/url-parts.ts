/** What URLs of several servers have in common, which the reader of URLs does not take. */

import { HomingError } from '../errors.ts'

/** Makes the error that says what such a URL looks like. */
export type Bad = (why: string) => HomingError

/** `host`, `host:port`, `[::1]:port`, with commas between them. */
export function hostsOf<P extends number | undefined>(
  text: string,
  defaultPort: P,
  bad: Bad,
): { host: string; port: number | P }[] {
  return text.split(',').map(each => {
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+))(?::(\d{1,5}))?$/.exec(each)
    const port = match?.[3] === undefined ? defaultPort : Number(match[3])
    if (!match || (port !== undefined && port > 65_535)) throw bad('a host cannot be read')
    return { host: match[1] ?? match[2]!, port }
  })
}

/** What stands before the `@`. */
export function userOf(text: string | undefined, bad: Bad): { username?: string; password?: string } {
  if (text === undefined) return {}
  const [username = '', ...password] = text.split(':')
  if (username === '') throw bad('the user is missing')
  return { username: decoded(username, bad), password: decoded(password.join(':'), bad) }
}

/** The user for people: without the password. */
export function userText(username: string | undefined): string {
  return username === undefined ? '' : `${encodeURIComponent(username)}@`
}

/** The user to be: that of the URL, or of the environment, where no list of processes shows the password. */
export function userFrom(given: { username?: string; password?: string }): { username: string; password: string } | undefined {
  const username = given.username ?? process.env['HOMING_STORE_USERNAME']
  if (username === undefined) return undefined
  const password = given.password || process.env['HOMING_STORE_PASSWORD'] || ''
  return { username, password }
}

export function decoded(text: string, bad: Bad): string {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    if (error instanceof URIError) throw bad('user or password have a % that starts no escape')
    throw error
  }
}
