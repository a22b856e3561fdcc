/** `node --import` this: plants the bugs whose names are in HOMING_PLANTED, with commas between them. */
import { alterModules } from '../support/altered-modules.ts'
import { chosenOf } from './chosen.ts'

const names = (process.env['HOMING_PLANTED'] ?? '').split(',').filter(name => name !== '')
if (names.length > 0) alterModules(chosenOf(names))
