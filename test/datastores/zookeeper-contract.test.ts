import t from 'tap'
import { contractOf } from '../contract/datastore.ts'
import { zooKeeperUnderTest } from '../contract/zookeeper-driver.ts'

contractOf(t, zooKeeperUnderTest)
