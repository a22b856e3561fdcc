import t from 'tap'
import { couchbaseGiven, couchbaseUnderTest } from '../contract/couchbase-driver.ts'
import { contractOf } from '../contract/datastore.ts'

const given = process.env['HOMING_TEST_COUCHBASE']

contractOf(t, given === undefined ? couchbaseUnderTest : couchbaseGiven(given))
