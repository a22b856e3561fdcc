/** Histories of what is on its way from one owner to the next when something comes in between; each bad one differs from a good one by a moment. */
import type { Holding, Story, World } from './story.ts'

/** A handler is busy with one message since 5.001 s, and another one waits for it, or came and waits. */
function busyWithOneMore(world: World): Holding {
  const { a, b } = world.cast
  return b.connects(10, 'bob').isBusyWithOneOf(a, 'two')
}

/** It moves at 6 s to a reader that is disconnected at 6.2 s, or its peer closed, and reads at `readMs` what came to it by itself. */
function readerLeaves(world: World, readMs: number, end: 'disconnected' | 'closed' = 'disconnected'): void {
  const former = busyWithOneMore(world)
  const { c, d } = world.cast
  const reader = c.connects(6_000, 'bob', { reads: true })
  former.ends(6_010, 'displaced')
  reader.takes(readMs, d.sends(6_100, 'bob', 'three').gets(6_102, 'delivered')).ends(6_200, end)
  world.until(20_000)
}

/** A message waits for an inbox to open, and its process is killed later than that; or would be, had its machine not slept for `sleepMs`. */
function sleepsAndDies(world: World, sleepMs: number): void {
  const { a, b } = world.cast
  b.connects(5_000, 'bob')
  a.sends(5_010, 'bob', 'one').gets(5_012, 'delivered')
  if (sleepMs > 0) world.fault(5_100, { fault: 'suspend', name: 'b', forMs: sleepMs })
  world.kill(8_500, b)
  world.until(20_000)
}

/** A message waits for an inbox to open whose process stands still until `wakesMs`, and is killed a second later: it was due to open at 7 s. */
function stallsAndDies(world: World, wakesMs: number): void {
  const { a, b } = world.cast
  b.connects(5_000, 'bob')
  a.sends(5_010, 'bob', 'one').gets(5_012, 'delivered')
  world.fault(5_100, { fault: 'stall', name: 'b', forMs: wakesMs - 5_100 })
  world.kill(wakesMs + 1_000, b)
  world.until(20_000)
}

/** `d` takes the address while a message waits with `b`, and takes a later one; `c` takes it from `b`, with what waited, because it knows of `b` alone. */
function movesApart(world: World, split: boolean): void {
  const { a, b, c, d } = world.cast
  const former = b.connects(4_000, 'bob').isBusy(4_500)
  if (split) world.fault(5_000, { fault: 'storeSplit' })
  const waiting = a.sends(5_010, 'bob', 'one').gets(5_012, 'delivered')
  const other = d.connects(5_050, 'bob').takes(5_110, a.sends(5_100, 'bob', 'two').gets(5_112, 'delivered'))
  const next = c.connects(5_120, 'bob')
  former.ends(5_121, 'displaced')
  next.takes(5_130, waiting)
  if (split) world.fault(5_900, { fault: 'storeWhole' })
  other.ends(6_000, 'displaced')
  world.until(20_000)
}

/** `d` hears late that it has the address, which `c` took from it before; it takes a message, and `b` gets an older one that waited with `c`. */
function takesLate(world: World): void {
  const { a, b, c, d } = world.cast
  const late = d.connects(5_000, 'bob', { tookMs: 600 })
  const newer = c.connects(5_200, 'bob').isBusy(5_205)
  const waiting = a.sends(5_210, 'bob', 'one').gets(5_212, 'delivered')
  late.takes(5_650, a.sends(5_640, 'bob', 'two').gets(5_652, 'delivered'))
  const next = b.connects(5_660, 'bob')
  newer.ends(5_661, 'displaced')
  next.takes(5_670, waiting)
  late.ends(5_700, 'displaced')
  world.until(20_000)
}

/** Somebody takes the address from a busy client, and its process is killed a second after it knew of that, at `knowsMs`. */
function diesKeeping(world: World, knowsMs: number): void {
  const former = busyWithOneMore(world)
  world.cast.c.connects(6_000, 'bob')
  former.ends(knowsMs, 'displaced')
  world.kill(knowsMs + 1_000, former.by)
  world.until(20_000)
}

/** A connect fails at 6 s; then, or at `takenMs`, somebody takes the address from a busy client, and its process is killed a second after it knew. */
function diesUnknown(world: World, takenMs: number): void {
  const former = busyWithOneMore(world)
  const { c, d } = world.cast
  d.failsToConnect(5_500, 'bob', { tookMs: 500 })
  c.connects(takenMs, 'bob')
  former.ends(6_300, 'displaced')
  world.kill(7_300, former.by)
  world.until(20_000)
}

/**
 * Somebody whose connect is never answered takes the address from a busy client, whose process is killed a second later; who connects next did
 * not get all of what that one had, as it says, or says nothing.
 */
function diesUnasked(world: World, says: boolean): void {
  const former = busyWithOneMore(world)
  const { c, d } = world.cast
  c.failsToConnect(5_900, 'bob', { tookMs: 10_000 })
  former.ends(6_000, 'displaced')
  const next = d.connects(6_100, 'bob')
  if (says) {
    next.by.tells(7_110, { what: 'handOverIncomplete', address: 'bob', fromIncarnation: c.incarnation, fromClaim: 1 })
  }
  world.kill(7_500, former.by)
  world.until(20_000)
}

/** Somebody takes the address from a busy client, and that one's process is killed a second later; the new owner's is, or is not, before it knows. */
function bothDie(world: World, alive: boolean): void {
  const former = busyWithOneMore(world)
  const { c } = world.cast
  if (alive) c.connects(5_900, 'bob')
  else c.tells(5_900, { what: 'connecting', address: 'bob', client: 1, dueMs: 15_900, reads: false })
  if (!alive) world.kill(5_950, c)
  former.ends(6_000, 'displaced')
  world.kill(7_000, former.by)
  world.until(20_000)
}

/**
 * Somebody takes the address from a busy client, and is killed before that one knows of it; `d` connects at `nextMs`, and the former owner's
 * process is killed a second after it knew.
 */
function takerDies(world: World, nextMs: number): void {
  const former = busyWithOneMore(world)
  const { c, d } = world.cast
  c.connects(5_900, 'bob')
  world.kill(5_950, c)
  former.ends(6_000, 'displaced')
  d.connects(nextMs, 'bob')
  world.kill(7_000, former.by)
  world.until(20_000)
}

/**
 * Records of the last `lostMs` are lost, among them perhaps that of a busy client that connected at 4.8 s, which so finds somebody else in its
 * place; and its process is killed a second later.
 */
function losesItsClaim(world: World, lostMs: number): void {
  const { a, b, c } = world.cast
  const former = b.connects(4_800, 'bob').isBusyWithOneOf(a, 'two')
  world.fault(5_500, { fault: 'storeForgot', lostMs })
  c.connects(5_600, 'bob')
  former.ends(5_700, 'displaced')
  world.kill(6_700, b)
  world.until(20_000)
}

/**
 * The address went over `c`, which connected at `viaMs` and had taken something at `tookMs`, to `d`; the former owner hears of it only later, and
 * has taken a message meanwhile.
 */
function passedOn(
  world: World,
  viaMs: number,
  end: 'displaced' | 'disconnected' | 'closed' = 'displaced',
  tookMs?: number,
): void {
  const { a, b, c, d } = world.cast
  const former = b.connects(10, 'bob').isBusyWithOneOf(a)
  const between = c.connects(viaMs, 'bob')
  if (tookMs !== undefined) between.takes(tookMs, d.sends(5_300, 'bob', 'here').gets(5_302, 'delivered'))
  between.ends(5_405, end)
  d.connects(5_400, 'bob').lacks(6_400, between)
  a.sends(5_500, 'bob', 'two').gets(5_502, 'delivered')
  former.ends(5_700, 'displaced')
  world.until(20_000)
}

/**
 * The address went over `c`, which connected at `viaMs`, after the message, to `d`; the former owner hears of it at `knowsMs`, when `c` has lost
 * the address.
 */
function passedOnLate(world: World, knowsMs: number): void {
  const { b, c, d } = world.cast
  const former = b.connects(10, 'bob').isBusyWithOneOf(world.cast.a, 'two')
  const between = c.connects(5_200, 'bob').ends(5_405, 'displaced')
  d.connects(5_400, 'bob').lacks(6_400, between)
  former.ends(knowsMs, 'displaced')
  world.until(20_000)
}

/** A reader was disconnected while it waited for what a former owner had, and read what it had itself at `readMs`; the next one gets all else. */
function readerWasFirst(world: World, readMs: number): void {
  const { a, b, c, d } = world.cast
  const former = b.connects(10, 'bob').isBusyWithOneOf(a)
  const two = a.sends(5_100, 'bob', 'two').gets(5_102, 'delivered')
  const reader = c.connects(6_000, 'bob', { reads: true })
  former.ends(6_010, 'displaced')
  reader.takes(readMs, a.sends(6_100, 'bob', 'three').gets(6_102, 'delivered')).ends(6_200, 'disconnected')
  d.connects(6_210, 'bob').takes(6_300, two)
  world.until(20_000)
}

/** What a former owner took until 6.15 s goes ahead of what waits here since 6.052 s; the client takes something that was sent at `sentMs`, and ends. */
function takesWhatIsAhead(world: World, sentMs: number): void {
  const { a, b, c, d } = world.cast
  const former = b.connects(10, 'bob')
  const owner = c.connects(6_000, 'bob')
  d.sends(6_050, 'bob', 'one').gets(6_052, 'delivered')
  const two = a.sends(sentMs, 'bob', 'two').gets(sentMs + 2, 'delivered')
  former.ends(6_150, 'displaced')
  owner.takes(6_160, two).isBusy(6_160).ends(6_200, 'disconnected')
  world.until(20_000)
}

export const goodHandOvers: readonly Story[] = [
  {
    name: 'a reader was disconnected before what was handed over came, and read what came by itself',
    tell: (_, world) => readerLeaves(world, 6_200),
  },
  {
    name: 'the peer of a reader was closed before what was handed over came, and the reader read what came by itself',
    tell: (_, world) => readerLeaves(world, 6_200, 'closed'),
  },
  { name: 'an inbox was not open yet, because its machine slept meanwhile', tell: (_, world) => sleepsAndDies(world, 2_000) },
  {
    name: 'an inbox was not open yet, because its process had stood still when it was to open',
    tell: (_, world) => stallsAndDies(world, 7_150),
  },
  { name: 'a former owner died while it kept what nobody was there to ask for', tell: (_, world) => bothDie(world, false) },
  {
    name: 'a former owner died while it kept what nobody asked it for: who came next asked one between, whose connect was never answered',
    tell: (_, world) => diesUnasked(world, true),
  },
  {
    name: 'a hundred connects fail while a message waits that is left behind in the end',
    tell: (_, world) => {
      const former = busyWithOneMore(world)
      const { c, d } = world.cast
      for (let n = 0; n < 100; n++) d.failsToConnect(5_500 + n, 'bob', { tookMs: 300 })
      const next = c.connects(6_000, 'bob')
      former.ends(6_010, 'displaced')
      next.lacks(6_100, former, 1)
      world.until(20_000)
    },
  },
  {
    name: 'of two who have the address because both were written at one moment, each hands on what it has',
    tell: (_, world) => movesApart(world, false),
  },
  {
    name: 'what waited with a newer owner goes to the next one, after one that hears late of its connect took a later message',
    options: { atomicPut: true },
    tell: (_, world) => takesLate(world),
  },
  {
    name: 'each side of a split datastore has owners of its own, one after the other',
    options: { atomicPut: true },
    tell: (_, world) => movesApart(world, true),
  },
  { name: 'a former owner died while it kept what had been asked for in vain', tell: (_, world) => diesKeeping(world, 7_200) },
  { name: 'a former owner died of whom nobody knew, after a claim was withdrawn', tell: (_, world) => diesUnknown(world, 6_100) },
  {
    name: 'what a former owner took late was left behind with one that had lost the address before',
    tell: (_, world) => passedOn(world, 5_200),
  },
  {
    name: 'what a former owner had was left behind with one that lost the address before the former owner knew',
    tell: (_, world) => passedOnLate(world, 5_700),
  },
  {
    name: 'what a former owner took late was left behind with one that had been disconnected before',
    tell: (_, world) => passedOn(world, 5_200, 'disconnected'),
  },
  {
    name: 'what a former owner took late was left behind with one whose peer had closed before',
    tell: (_, world) => passedOn(world, 5_200, 'closed'),
  },
  {
    name: 'a former owner died whose taker had died before it, and who came then asked that one',
    tell: (_, world) => takerDies(world, 6_100),
  },
  { name: 'a former owner died whose claim the datastore had lost', tell: (_, world) => losesItsClaim(world, 800) },
  {
    name: 'a reader was disconnected, and read what it had before the next one got what was before that',
    tell: (_, world) => readerWasFirst(world, 6_200),
  },
  {
    name: 'a client was disconnected behind what was handed over to it, which had been sent after what it left',
    tell: (_, world) => takesWhatIsAhead(world, 6_150),
  },
]

export const badHandOvers: readonly Story[] = [
  {
    name: 'a reader takes what came later, is disconnected, and what came first is lost',
    rule: 'H1',
    tell: (_, world) => readerLeaves(world, 6_199),
  },
  {
    name: 'a reader takes what came later, its peer is closed, and what came first is lost',
    rule: 'H1',
    tell: (_, world) => readerLeaves(world, 6_199, 'closed'),
  },
  { name: 'an inbox has been open for long when its process is killed', rule: 'H1', tell: (_, world) => sleepsAndDies(world, 0) },
  {
    name: 'an inbox has been open for long, whose process stood still before',
    rule: 'H1',
    tell: (_, world) => stallsAndDies(world, 7_050),
  },
  {
    name: 'a former owner dies a second after the new owner asked it, which says nothing',
    rule: 'H1',
    tell: (_, world) => bothDie(world, true),
  },
  {
    name: 'a former owner dies, and who came next says of nobody that it did not get all',
    rule: 'H1',
    tell: (_, world) => diesUnasked(world, false),
  },
  {
    name: 'what waited with a former owner goes past an owner in between, and a later message of that one',
    rule: 'H3',
    options: { atomicPut: true },
    tell: (_, world) => movesApart(world, false),
  },
  { name: 'a former owner dies that could still be asked', rule: 'H1', tell: (_, world) => diesKeeping(world, 6_900) },
  {
    name: 'a former owner dies whom its taker knew, before a claim was withdrawn',
    rule: 'H1',
    tell: (_, world) => diesUnknown(world, 5_900),
  },
  {
    name: 'what a former owner took late was left behind with one that did not wait any more',
    rule: 'H1',
    tell: (_, world) => passedOn(world, 4_000),
  },
  {
    name: 'what a former owner had was left behind with one that did not wait any more when the former owner knew',
    rule: 'H1',
    tell: (_, world) => passedOnLate(world, 6_350),
  },
  {
    name: 'what a former owner took late was left behind with one that gave out messages already',
    rule: 'H1',
    tell: (_, world) => passedOn(world, 5_200, 'disconnected', 5_301),
  },
  {
    name: 'a former owner dies that could be asked by who came while its first taker was dying',
    rule: 'H1',
    tell: (_, world) => takerDies(world, 5_900),
  },
  {
    name: 'a former owner dies whose claim was written long before what was lost',
    rule: 'H1',
    tell: (_, world) => losesItsClaim(world, 600),
  },
  {
    name: 'a reader takes what came later, and the next one what came first',
    rule: 'H3',
    tell: (_, world) => readerWasFirst(world, 6_199),
  },
  {
    name: 'a client takes what no former owner can have handed over, and what came before that is lost',
    rule: 'H1',
    tell: (_, world) => takesWhatIsAhead(world, 6_151),
  },
]
