import t from 'tap'
import { meshContract } from '../contract/mesh.ts'
import { DirectWorld } from '../support/mesh-world.ts'

meshContract(t, { open: options => new DirectWorld(options) })
