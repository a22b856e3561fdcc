/** For tests of programs that use Homing: a cluster in one process, with a clock to turn and links to cut. */
export {
  Cluster,
  simulateCluster,
  type ClusterOptions,
  type SimulatedBrokerOptions,
  type SimulatedPeerOptions,
} from './cluster.ts'
export { FaultyDatastore } from './faulty-datastore.ts'
export { History, type HistoryEvent } from './history.ts'
