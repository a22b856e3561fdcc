/** What a process of the demo does, and when. Pure data: the seed's table (the same in both modes). */

/** One action of the demo, `atMs` after the process was registered. */
export type Step =
  | { readonly atMs: number; readonly does: 'connect' | 'disconnect'; readonly address: string }
  | { readonly atMs: number; readonly does: 'send'; readonly from: string; readonly to: string; readonly text: string }

/** The steps of process `n` of `total`, in the order of their times. It talks to itself first, then to its successor. */
export function schedule(n: number, total: number): readonly Step[] {
  const successor = (n % total) + 1
  return [
    connect(500, `clientA${n}`),
    connect(600, `clientB${n}`),
    connect(700, `clientC${n}`),
    connect(800, `clientD${n}`),
    hello(900, 'D', n, 'A', n),
    hello(1000, 'A', n, 'B', n),
    hello(1100, 'C', n, 'B', n),
    disconnect(1900, `clientB${n}`),
    disconnect(2000, `clientD${n}`),
    hello(2500, 'A', n, 'A', successor),
    hello(2600, 'C', n, 'C', successor),
    hello(2700, 'A', n, 'C', successor),
    hello(2800, 'C', n, 'A', successor),
  ]
}

function connect(atMs: number, address: string): Step {
  return { atMs, does: 'connect', address }
}

function disconnect(atMs: number, address: string): Step {
  return { atMs, does: 'disconnect', address }
}

function hello(atMs: number, from: string, n: number, to: string, m: number): Step {
  return { atMs, does: 'send', from: `client${from}${n}`, to: `client${to}${m}`, text: `Hello from ${from} to ${to}!` }
}
