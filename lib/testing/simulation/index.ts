/** Whole clusters of the real code with swarms of faults, each from a seed. */
export { drawPlan, type Mode, type Plan, type StoreKind } from './plan.ts'
export { faultNames, type FaultName } from './fault-names.ts'
export { simulate, type Finding, type LogLine, type Simulation, type SimulationOptions } from './simulate.ts'
export { timelineOf, type TimelineOptions } from './timeline.ts'
