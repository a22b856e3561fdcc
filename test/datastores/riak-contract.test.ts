import t from 'tap'
import { contractOf } from '../contract/datastore.ts'
import { riakUnderTest } from '../contract/riak-driver.ts'

contractOf(t, riakUnderTest)
