/** `homing status`: who is in the cluster, and who is connected where. */
import { datastorePlace } from '../../datastores/open.ts'
import type { Member, Peer } from '../../index.ts'
import { addClusterOptions, type ClusterFlags, storeOf } from '../cluster-options.ts'
import { joinBriefly } from '../join.ts'
import { memberData, memberText } from '../member-text.ts'
import { Printer } from '../printer.ts'
import type { Define } from '../run.ts'
import { counted, visible } from '../text.ts'

interface StatusFlags extends ClusterFlags {
  sessions?: true
  json?: true
}

interface Status {
  cluster: string
  /** Where the sessions are kept: a folder, a URL, or the brokers that keep them. */
  store: string
  members: Member[]
  sessions: { address: string; identity: string; moving: boolean }[]
}

export const statusCommand: Define = (program, run) => {
  const command = program
    .command('status')
    .description('Show the members of the cluster and count its sessions. Disturbs nothing.')
    .option('--sessions', 'list the sessions too')
    .option('--json', 'print JSON')
  addClusterOptions(command, { logLevel: 'warn', broker: true })
  command.addHelpText('after', '\nExample:\n  homing status --sessions')
  command.action(async (flags: StatusFlags) => {
    await using peer = await joinBriefly(flags, run.ending)
    const status = await look(peer, flags)
    new Printer(flags.json === true).print(
      statusText(status, flags.sessions === true),
      statusData(status, flags.sessions === true),
    )
  })
}

async function look(peer: Peer, flags: StatusFlags): Promise<Status> {
  const cluster = flags.cluster ?? 'homing'
  const store = flags.broker ?? datastorePlace(storeOf(flags) ?? 'lmdb:', cluster)
  const sessions: Status['sessions'] = []
  for await (const { address, owner, moving } of peer.sessions()) sessions.push({ address, identity: owner.identity, moving })
  sessions.sort((a, b) => compare(a.address, b.address))
  const members = peer.members().filter(member => member.identity !== peer.identity)
  members.sort((a, b) => compare(a.identity, b.identity))
  return { cluster, store, members, sessions }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function statusText({ cluster, store, members, sessions }: Status, listSessions: boolean): string {
  const lines = [`cluster ${cluster}, sessions kept in ${visible(store)}`, `${counted(members.length, 'member')}:`]
  for (const member of members) lines.push(`  ${memberText(member, members)}`)
  lines.push(`${counted(sessions.length, 'session')}${listSessions && sessions.length > 0 ? ':' : ''}`)
  if (listSessions) {
    for (const { address, identity, moving } of sessions)
      lines.push(`  ${visible(address)}  at ${visible(identity)}${moving ? '  moving' : ''}`)
  }
  return lines.join('\n')
}

function statusData({ cluster, store, members, sessions }: Status, listSessions: boolean): object {
  return {
    cluster,
    store,
    members: members.map(memberData),
    sessionCount: sessions.length,
    ...(listSessions && { sessions }),
  }
}
