import t from 'tap'
import { meshContract } from '../contract/mesh.ts'
import { RelayedWorld } from '../support/mesh-world.ts'

meshContract(t, { open: options => new RelayedWorld(options) })
