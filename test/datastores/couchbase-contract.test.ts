import t from 'tap'
import { couchbaseGiven, couchbaseUnderTest } from '../contract/couchbase-driver.ts'
import { contractOf } from '../contract/datastore.ts'

const given = process.env['HOMING_TEST_COUCHBASE']

if (given === undefined) contractOf(t, couchbaseUnderTest, 'calm')
else contractOf(t, couchbaseGiven(given))
