/** What a process says of itself, and where another one can be dialled. */
import { isLoopback } from './env/endpoint.ts'
import type { Env } from './env/env.ts'
import { HomingError } from './errors.ts'
import type { Member, Run } from './sessions/directory.ts'
import { version } from './version.ts'

export function selfOf(env: Env, run: Run, role: Member['role'], endpoints: readonly string[]): Member {
  return { ...run, endpoints, role, state: 'up', version, machine: env.machine, metadata: {} }
}

/** Where a member can be dialled from here. Throws `UNREACHABLE` in words where its endpoints are of no use on this machine. */
export function endpointsOf(env: Env, member: Member | undefined, run: Run): readonly string[] {
  if (member?.incarnation !== run.incarnation) return []
  if (member.machine === env.machine) return member.endpoints
  const usable = member.endpoints.filter(endpoint => !isLoopback(endpoint))
  if (usable.length > 0 || member.endpoints.length === 0) return usable
  const said = member.endpoints.join(', ')
  throw new HomingError(
    'UNREACHABLE',
    `'${member.identity}' is on another machine and says to be at ${said}: start it with listen tcp://0.0.0.0:PORT and advertise tcp://HOST:PORT`,
  )
}
