/** For tests of programs that use Homing: a cluster in one process, with a clock to turn and links to cut; and the contract of datastores. */
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
export { History, type HistoryEvent } from './history.ts'
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
