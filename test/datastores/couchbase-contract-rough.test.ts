import t from 'tap'
import { couchbaseUnderTest } from '../contract/couchbase-driver.ts'
import { contractOf } from '../contract/datastore.ts'

contractOf(t, couchbaseUnderTest, 'rough')
