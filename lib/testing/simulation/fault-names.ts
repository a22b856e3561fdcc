/** The faults of simulated worlds; FAULTS.md's numbers beside them. */
export const faultNames = [
  // Processes
  'kill', // F1
  'restart', // F1: killed, and started again at once
  'powerOff', // F1, F9: nobody says goodbye for it
  'drain', // F22
  'close', // a graceful end, and a new start
  'stall', // F12
  'suspend', // F11
  'twice', // F13
  'wallClock', // F10
  // The network
  'cut', // F7
  'oneWay', // F8
  'isolate', // F7: one from all others
  'split', // F7, F8: some from some, which need not be all
  'reset', // connections between two break
  'resetAll', // those of one with all others
  'detour', // one way becomes slow
  'latency', // all ways become slow
  'narrow', // all ways become narrow
  // Brokers
  'brokerKill', // F3
  'brokerPowerOff', // F3, F9
  'brokerStall', // F12
  'brokerSuspend', // F11
  // The datastore
  'storeDown', // F5
  'storeDownForOne', // F5
  'storeSlow', // F6
  'storeFlapping', // F6
  'storeUnanswered', // F6: questions and answers get lost
  'failOver', // only where it loses something
  'storeSplit', // only where both sides go on
] as const

export type FaultName = (typeof faultNames)[number]
