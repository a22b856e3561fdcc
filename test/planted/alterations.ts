/**
 * The planted bugs: each breaks one promise by one small change of one module, of a kind that is easily made. A simulator that does not
 * find them shows nothing.
 */
import type { Plan } from '../../lib/testing/index.ts'
import type { Alteration } from '../support/altered-modules.ts'

export interface PlantedBug extends Alteration {
  /** In which worlds it can show. The others are counted, and not run. Absent: in all. */
  readonly shows?: (plan: Plan) => boolean
}

type FaultName = Plan['faults'][number]

/** One of these faults may happen. */
function amid(...names: readonly FaultName[]): (plan: Plan) => boolean {
  return ({ faults }) => names.some(name => faults.includes(name))
}

const breaks = amid('reset', 'resetAll', 'cut', 'oneWay', 'isolate', 'split', 'brokerKill')
const cuts = amid('cut', 'oneWay', 'isolate', 'split')
const deaths = amid('kill', 'restart', 'powerOff')
const standstills = amid('stall', 'suspend', 'brokerStall', 'brokerSuspend')
const outages = amid('storeDown', 'storeFlapping', 'storeDownForOne')
const lostAnswers = amid('storeUnanswered', 'storeDown', 'storeFlapping', 'storeDownForOne')

/** Faults may last longer than a lease. */
function outlastsLease({ faultMsMax, options }: Plan): boolean {
  return faultMsMax > (options.leaseMs ?? 10_000)
}

/** Between two servers: `docs/protocol.md`, "Channels". */
const channels: readonly PlantedBug[] = [
  {
    name: 'lost-sent-again',
    what: 'what was not answered when its channel ended is taken for not arrived, and goes to the next owner',
    module: 'mesh/channel.js',
    shows: plan => deaths(plan) || cuts(plan),
    find: 'this.eachWaiter(waiter => waiting.push(waiter));',
    replace: `for (let sequence = this.#acknowledged + 1; sequence < this.#next; sequence++) {
            const slot = sequence & this.#mask;
            const waiter = this.#waiters[slot];
            if (!waiter || waiter === abandoned) continue;
            const { buffer, end } = this.#segments[slot];
            const at = this.#offsets[slot];
            const payload = buffer.subarray(at + NUMBERED_HEADER, Math.min(end, at + PREFIX + readUint32(buffer, at)));
            waiting.push({ lost: () => waiter.refused(1, buffer[at + PREFIX], payload) });
        }`,
  },
  {
    name: 'sequence-reset-on-resume',
    what: 'after a break a receiver goes back by one, and expects what it took last once more',
    module: 'mesh/channel.js',
    shows: breaks,
    find: 'frame.writeUInt32BE(this.#expected >>> 0, at + 8);',
    replace: 'if (this.#expected > 0) this.#expected--; frame.writeUInt32BE(this.#expected >>> 0, at + 8);',
  },
  {
    name: 'acknowledged-before-accepted',
    what: 'what the other end expects next after a break is taken for its acknowledgement: a refusal that is on its way again comes too late',
    module: 'mesh/channel.js',
    shows: breaks,
    find: 'this.flush();\n        this.#handler.writable(this);',
    replace: `this.flush();
        if (expected - 1 > this.#acknowledged) this.#acked((expected - 1) >>> 0);
        this.#handler.writable(this);`,
  },
  {
    name: 'refusal-after-acknowledgement',
    what: 'after a break the acknowledgement leaves before the refusals that are repeated',
    module: 'mesh/channel.js',
    shows: breaks,
    find: 'this.#arrived = expected - 1;',
    replace: `this.#arrived = expected - 1;
        if (!first && this.#expected > 0) {
            const early = Buffer.allocUnsafe(CHANNEL_HEADER + 4);
            early.writeUInt32BE((this.#expected - 1) >>> 0, writeChannelHeader(early, 0, ACK, this.#path.label));
            closeFrame(early, 0, early.length);
            this.#path.write(early);
        }`,
  },
  {
    name: 'given-up-sent-again',
    what: 'what its sender has given up is sent again after a break as it was, not as VOID',
    module: 'mesh/channel.js',
    shows: plan => cuts(plan) && plan.faultMsMax > 5_000,
    find: `if (this.#waiters[slot] === abandoned && sequence >= expected)
                this.#makeBlank(segment.buffer, at);`,
    replace: '',
  },
  {
    name: 'leave-not-answered',
    what: 'LEAVE is not answered: who closes waits in vain',
    module: 'mesh/channel.js',
    find: `if (!this.#leaving && this.#resumed)
            this.#control(LEAVE);`,
    replace: '',
  },
]

/** From the caller to the inbox: order, refusals, room, deadlines. */
const sends: readonly PlantedBug[] = [
  {
    name: 'cache-trusted',
    what: 'the receiver does not check that it holds the address: what comes by a stale route is acknowledged',
    module: 'router/reception.js',
    find: 'this.#host.notHere(to);',
    replace: 'return 0;',
  },
  {
    name: 'route-changed-early',
    what: 'after a refusal the route is changed while messages on the old one have no answer yet',
    module: 'router/flow.js',
    find: "if (this.state !== 'settling' || this.outstanding > 0)",
    replace: "if (this.state !== 'settling')",
  },
  {
    name: 'resend-by-timer',
    what: 'what was refused is sent again by a timer, not ahead of later messages',
    module: 'router/flow.js',
    find: 'this.queue.unshift(again);',
    replace: 'if (again.length > 0) this.#host.after(20, () => { this.queue.unshift(again); this.pump(); });',
  },
  {
    name: 'refused-outlives-deadline',
    what: 'the deadline of a refused message is not looked at while others on the same route have no answer',
    module: 'router/flow.js',
    shows: breaks,
    find: `if (this.#refused.length > 0)
            this.#refused = this.#refused.filter(keep);`,
    replace: '',
  },
  {
    name: 'budget-not-given-back',
    what: 'the memory of a message that ended in its queue is not given back to the budget',
    module: 'router/flow.js',
    find: `this.#host.released(send);
            send.settle(outcome);`,
    replace: 'send.settle(outcome);',
  },
  {
    name: 'refusals-forgotten',
    what: 'what was written behind a refused message, before its sender knew, is not refused',
    module: 'router/reception.js',
    find: 'refusals.set(to, { reason, sequence: channel.nextSequence, roomDue });',
    replace: '',
  },
  {
    name: 'refusals-forgotten-early',
    what: 'any acknowledgement, not that of the refusal, ends the refusing of what was written behind a refused message',
    module: 'router/reception.js',
    find: `if (refusal.sequence <= sequence)
                refusals.delete(address);`,
    replace: 'refusals.delete(address);',
  },
  {
    name: 'overtaken-not-refused',
    what: 'a message that its sender has given up is taken in after later ones were handed over',
    module: 'router/reception.js',
    find: `if (inbox.hasPassed(sender.origin, number))
            return OVERTAKEN;`,
    replace: '',
  },
  {
    name: 'room-not-told',
    what: 'a full inbox forgets to say when there is room',
    module: 'router/reception.js',
    find: `this.#tellRoom(channel, inbox);
        return FULL;`,
    replace: 'return FULL;',
  },
  {
    name: 'put-off-forgotten',
    what: 'who was put off while a lease was unsure is not told when it is sure again',
    module: 'router/reception.js',
    shows: plan => standstills(plan) || (plan.options.whenStoreIsDown === 'stop' && outages(plan)),
    find: `for (const address of addresses)
                tellRoom(channel, address);`,
    replace: 'void channel, addresses;',
  },
  {
    name: 'drop-on-full-queue',
    what: 'a full inbox drops what comes, and says that it took it',
    module: 'router/inbox.js',
    shows: ({ options }) => options.inboxBytesMax !== undefined,
    find: `if (waitingBytes > 0 && waitingBytes + message.size > this.#host.inboxBytesMax)
            return false;`,
    replace: `if (waitingBytes > 0 && waitingBytes + message.size > this.#host.inboxBytesMax)
            return true;`,
  },
  {
    name: 'taken-while-claiming',
    what: 'an inbox takes messages before its claim is written',
    module: 'router/inbox.js',
    find: "if (this.#state === 'claiming' || this.#state === 'closed')",
    replace: "if (this.#state === 'closed')",
  },
  {
    name: 'delivered-while-late',
    what: 'what had queued while the process stood still is taken without a look at the lease',
    module: 'router/router.js',
    shows: standstills,
    find: 'void this.#directory?.lease;',
    replace: '',
  },
]

/** An address moves: what its former owner had goes with it, once and in order. */
const moves: readonly PlantedBug[] = [
  {
    name: 'hand-over-behind',
    what: 'what is handed over is put behind what the new owner got itself',
    module: 'router/inbox.js',
    find: `waiting.queue.unshift(handedOver.filter(({ serve }) => !(apart && serve)));
        if (handedOver.length > 0)
            waiting.queue = Queue.of(inSendOrder([...waiting.queue]));`,
    replace: 'for (const message of handedOver.filter(({ serve }) => !(apart && serve))) waiting.queue.push(message);',
  },
  {
    name: 'opened-before-hand-over',
    what: 'the new inbox gives out messages before the former owner has handed over',
    module: 'peer/clients.js',
    find: "inbox.claimed('held');",
    replace: "inbox.claimed('open');",
  },
  {
    name: 'hand-over-called-complete',
    what: 'a hand-over that could not be fetched is called complete',
    module: 'peer/hand-over.js',
    shows: plan => cuts(plan) || standstills(plan),
    find: `if (error.code === 'ABSENT' && !waited)
                left = 0;`,
    replace: 'left ??= 0;',
  },
  {
    name: 'taken-before-answer',
    what: 'a former owner whose claim has no answer yet says that it has nothing to hand over',
    module: 'peer/hand-over.js',
    find: `if (claiming)
                    await claiming;`,
    replace: '',
  },
  {
    name: 'reconnect-drops-queue',
    what: 'a client that connects again at the same peer does not get what its predecessor there had not taken',
    module: 'peer/clients.js',
    find: 'former && { inbox: former, left: left }',
    replace: 'former && { inbox: former, left: [] }',
  },
  {
    name: 'drain-forgets-moving',
    what: 'what comes for a client that left during a drain hears that it is not here, instead of that it moves',
    module: 'peer/clients.js',
    shows: amid('drain'),
    find: 'this.#router.reception.moved(address, waitedUntilMs);',
    replace: 'void waitedUntilMs;',
  },
]

/** Who holds an address, and who is believed. */
const sessions: readonly PlantedBug[] = [
  {
    name: 'release-without-claim-check',
    what: 'a release removes whatever record it finds, also that of a newer claim',
    module: 'sessions/session-moves.js',
    find: "if (found !== 'unreadable' && sameClaim(found.owner, ownerOf(move)))",
    replace: "if (found !== 'unreadable')",
  },
  {
    name: 'newer-claim-loses',
    what: 'after a write without an answer, whoever holds the address is taken to be newer',
    module: 'sessions/session-moves.js',
    shows: lostAnswers,
    find: 'if (found.previous && sameRun(found.previous, move.run)) {',
    replace: `if (move.wrote)
        return { done: claimed(undefined) };
    if (found.previous && sameRun(found.previous, move.run)) {`,
  },
  {
    name: 'unanswered-claim-succeeds',
    what: 'a claim whose answer was lost is taken for a success, without reading it back',
    module: 'sessions/session-operations.js',
    shows: lostAnswers,
    find: `if (!parts || part instanceof HomingError)
                doubtful(op, step);`,
    replace: `if ((!parts || part instanceof HomingError) && op.kind === 'claim')
                this.#settle(op, step.then);
            else if (!parts || part instanceof HomingError)
                doubtful(op, step);`,
  },
  {
    name: 'unanswered-claim-fails',
    what: 'a claim whose answer was lost is taken to have displaced nobody',
    module: 'sessions/operation.js',
    shows: lostAnswers,
    find: 'const previous = others(op, undefined).at(-1);',
    replace: 'const previous = undefined;',
  },
  {
    name: 'sessions-inherited',
    what: 'a new incarnation inherits the sessions of the one before: that its identity lives is enough',
    module: 'sessions/membership.js',
    shows: deaths,
    find: `if (member?.incarnation === run.incarnation)
            return this.hasLapsed(run) ? undefined : member;`,
    replace: `if (member)
            return this.hasLapsed(member) ? undefined : member;`,
  },
  {
    name: 'note-not-read',
    what: 'a former owner that could not be told acts neither upon the note that was left for it nor upon what it finds by itself',
    module: 'sessions/held-audit.js',
    shows: plan => plan.mode === 'brokerless' && cuts(plan),
    find: 'this.#options = options;',
    replace: 'this.#options = { ...options, displaced: () => undefined };',
  },
  {
    name: 'absent-during-outage',
    what: 'while the datastore is down, nobody is said to hold an address',
    module: 'sessions/store-directory.js',
    shows: outages,
    find: "throw new HomingError('DATASTORE', `'${address}' cannot be looked up: ${down.message}`, { cause: down });",
    replace: 'return Promise.resolve(undefined);',
  },
  {
    name: 'judged-without-own-renewals',
    what: 'others are judged dead whether or not the own renewals succeed',
    module: 'sessions/lease-watch.js',
    shows: plan => outlastsLease(plan) && (outages(plan) || standstills(plan)),
    find: `if (!this.#trusted(nowMs))
            return 'unknown';
        seen.lapsed = seen.lastMs - this.#fromMs(seen) >= this.#options.leaseMs;`,
    replace: 'seen.lapsed = seen.lastMs - seen.firstMs >= this.#options.leaseMs;',
  },
  {
    name: 'verdict-while-late',
    what: 'a beat that stood still while the observer itself was late or cut off counts against its run',
    module: 'sessions/lease-watch.js',
    shows: plan => outlastsLease(plan) && (outages(plan) || standstills(plan)),
    find: 'return Math.max(seen.firstMs, this.#trustedSinceMs ?? Infinity);',
    replace: 'return seen.firstMs;',
  },
  {
    name: 'wall-clock-leases',
    what: "others' leases are judged by the wall clock",
    module: 'sessions/membership.js',
    shows: amid('wallClock'),
    find: 'this.#env = env;',
    replace: `const { clock } = env;
        const wall = { monotonicMs: () => clock.wallMs(), bootMs: () => clock.bootMs(), wallMs: () => clock.wallMs() };
        this.#env = Object.create(env, { clock: { value: wall } });`,
  },
  {
    name: 'silence-taken-for-death',
    what: 'an incumbent of the same identity that does not answer a probe is taken for dead, without waiting out its lease',
    module: 'sessions/joining.js',
    shows: amid('twice'),
    find: "return probe === 'refused' && machine === newcomer.machine;",
    replace: "return probe !== 'answers';",
  },
  {
    name: 'earlier-sibling-stays',
    what: 'of two claims that a datastore kept side by side the earlier one stays',
    module: 'sessions/merge.js',
    shows: ({ store }) => store.kind === 'eventual',
    find: 'return order > 0 ? a : b;',
    replace: 'return order < 0 ? a : b;',
  },
  {
    name: 'served-record-forgotten',
    what: 'a broker does not put back the record of a peer that the datastore has lost',
    module: 'broker/served-peers.js',
    shows: plan => plan.mode === 'broker' && plan.faults.includes('failOver'),
    find: `if (renewal.at === 'missing')
            return this.#restore(served);`,
    replace: `if (renewal.at === 'missing')
            return;`,
  },
  {
    name: 'claims-answered-out-of-turn',
    what: 'behind a broker, claims of one address end in the order of their answers, not of the calls',
    module: 'broker/directory-client.js',
    shows: ({ mode }) => mode === 'broker',
    find: 'await turn.come(this.#setup.env, untilMs);',
    replace: '',
  },
]

/** In the order in which a message meets them. */
export const alterations: readonly PlantedBug[] = [...channels, ...sends, ...moves, ...sessions]
