/** Words of the wire that mutations put in: heads of msgpack, names, keys of the protocols' maps. */
import { encodeBody } from '../../lib/wire/body.ts'

function hex(...texts: string[]): Buffer[] {
  return texts.map(text => Buffer.from(text, 'hex'))
}

/** Heads, with claims that are true nowhere among them; numbers at the ends of their forms; both extensions. */
export const bodyWords: readonly Buffer[] = [
  ...hex('80', '81', '8f', '90', '91', '9f', 'a0', 'a1', 'bf', 'c0', 'c1', 'c2', 'c3', 'c400', 'c4ff', 'c50100', 'c600010000'),
  ...hex(
    'd900',
    'd9ff',
    'da0100',
    'db00010000',
    'dc0010',
    'dcffff',
    'dd00010000',
    'ddffffffff',
    'de0010',
    'dfffffffff',
    'df00010000',
  ),
  ...hex('ccff', 'cdffff', 'ceffffffff', 'cfffffffffffffffff', 'd080', 'd18000', 'd280000000', 'd38000000000000000'),
  ...hex('ca7fc00000', 'cb7ff8000000000000', 'cb8000000000000000', 'cb43e0000000000000', 'cb7ff0000000000000'),
  ...hex(
    'd6ffffffffff',
    'd7ffee6b27ffffffffff',
    'c70cff3b9ac9ff7fffffffffffffff',
    'd44200',
    'c70042',
    'c8010042',
    'c7ff42',
    'd40000',
  ),
  ...hex('d47240', 'd57240', 'd8ff', 'c70565', 'c70573', '9191919191919191', '8181818181818181', '81a161'),
  ...['__proto__', 'constructor', 'toString', 'toJSON', 'prototype', 'length', 'then', ''].map(text => encodeBody(text)),
  encodeBody({ ['__proto__']: { polluted: true } }),
  encodeBody(JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}')),
]

/** Keys and values of the maps that parts of the library say to each other. */
export const protocolWords: readonly Buffer[] = [
  ...['address', 'addresses', 'by', 'bytes', 'claim', 'claims', 'cursor', 'elsewhere', 'from', 'full', 'identity', 'incarnation'],
  ...['left', 'located', 'member', 'members', 'messages', 'metadata', 'moving', 'ms', 'number', 'op', 'origin', 'owner', 'part'],
  ...['previous', 'reached', 'released', 'run', 'sessions', 'state', 'text', 'to', 'up', 'via', 'why', 'at', 'endpoints', 'role'],
  ...[
    'join',
    'reassert',
    'release',
    'find',
    'wait',
    'note',
    'update',
    'leave',
    'displaced',
    'revalidate',
    'memberUp',
    'memberDown',
  ],
  ...['memberChanged', 'store', 'fenced', 'draining', 'peer', 'broker', 'alice', 'bob', 'a', 'tcp://127.0.0.1:1', 'unix:/x'],
].map(text => encodeBody(text))

/** Of texts: what parsers of URLs and options take for a sign. */
export const textWords: readonly Buffer[] = [
  ...[
    'tcp://',
    'unix:/',
    'memory:',
    'lmdb:',
    'lmdb:/',
    'redis://',
    'rediss://',
    'redis+sentinel://',
    'redis+cluster://',
    'riak://',
  ],
  ...[
    'couchbase://',
    'couchbases://',
    'zookeeper://',
    '127.0.0.1',
    'localhost',
    '[::1]',
    '[::',
    ':0',
    ':65535',
    ':65536',
    ':99999',
  ],
  ...[
    '@',
    ',',
    '/',
    '//',
    '..',
    '%',
    '%00',
    '%zz',
    '%E0%A4',
    '?',
    '&',
    '=',
    '#',
    'bucket=',
    'bucketType=',
    'durability=majority',
  ],
  ...[
    'scope=',
    'collection=',
    ' ',
    '\0',
    '\n',
    '\\',
    ';',
    '__proto__',
    'constructor',
    '%25eth0',
    '::ffff:1.2.3.4',
    '1e3',
    '٣',
    'é',
  ],
].map(text => Buffer.from(text))
