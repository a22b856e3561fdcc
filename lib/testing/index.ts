/**
 * For tests of programs that use Homing: a cluster in one process, with a clock to turn and links to cut; their histories and the checker that
 * judges them; and the contract of datastores.
 */
export {
  Cluster,
  simulateCluster,
  type ClusterOptions,
  type Engine,
  type SimulatedBrokerOptions,
  type SimulatedPeerOptions,
} from './cluster.ts'
export { datastoreContract, judge, type Verdict } from './contract/datastore-contract.ts'
export { contractTable, type Column } from './contract/table.ts'
export {
  exemption,
  type DriverUnderTest,
  type Elsewhere,
  type Exemption,
  type Need,
  type OpenOptions,
  type Statement,
} from './contract/statement.ts'
export { type Dialect } from './dialect.ts'
export { FaultyDatastore } from './faulty-datastore.ts'
export {
  drawPlan,
  faultNames,
  simulate,
  timelineOf,
  type FaultName,
  type Finding,
  type LogLine,
  type Mode,
  type Plan,
  type Simulation,
  type SimulationOptions,
  type StoreKind,
  type TimelineOptions,
} from './simulation/index.ts'
export { check } from './checker/check.ts'
export type { CheckOptions } from './checker/options.ts'
export { violationText, type RuleName, type Violation } from './checker/violation.ts'
export { History, type HistoryOptions } from './history.ts'
export type { EventOf, Fault, HistoryEvent, Told, What } from './history-event.ts'
export { mergeHistories, readHistory, type ReadOptions } from './history-lines.ts'
export { recordBroker, recordPeer, type RecordingOptions } from './recorder.ts'
