/** What protection costs: a secret, TLS, certificates of both ends. */
import type { Contestant, Question } from './kit/contestant.ts'
import type { PeerName } from './kit/peers.ts'
import type { Protection } from './programs/credentials.ts'

const protections: readonly Protection[] = ['plain', 'secret', 'tls', 'mutual tls']

function oneWay(protection: Protection): string {
  return `homing, receipts, ${protection}`
}

function request(protection: Protection): string {
  return `homing, requests, ${protection}`
}

function needs(protection: Protection): readonly PeerName[] {
  return protection.endsWith('tls') ? ['openssl'] : []
}

function homing(protection: Protection, store: string): Contestant[] {
  const setup = { store, protection }
  return [
    {
      name: oneWay(protection),
      parts: [
        { name: 'receiver', program: 'homing', plays: 'receiver', setup },
        { name: 'sender', program: 'homing', plays: 'sender', setup: { ...setup, level: 'delivered', outstanding: 4_096 } },
      ],
      counted: 'receiver',
      sentBy: ['sender'],
      needs: needs(protection),
    },
    {
      name: request(protection),
      parts: [
        { name: 'answerer', program: 'homing', plays: 'answerer', setup },
        { name: 'asker', program: 'homing', plays: 'asker', setup: { ...setup, outstanding: 256 } },
      ],
      counted: 'asker',
      needs: needs(protection),
    },
  ]
}

function bare(name: string, setup: object): Contestant {
  return {
    name,
    parts: [
      { name: 'receiver', program: 'bare-one-way', plays: 'receiver', setup },
      { name: 'sender', program: 'bare-one-way', plays: 'sender' },
    ],
    counted: 'receiver',
    sentBy: ['sender'],
    needs: needs('tls'),
  }
}

const barePlain = 'bare, plain maps, plain'
const bareTls = 'bare, plain maps, tls'

function contestants(folder: string): readonly Contestant[] {
  const all = protections.map(protection => homing(protection, folder))
  return [
    bare(barePlain, {}),
    bare(bareTls, { tlsIn: folder }),
    ...all.map(([messages]) => messages!),
    ...all.map(([, requests]) => requests!),
  ]
}

export const secured: Question = {
  name: 'secured',
  title:
    '140 bytes by address: receipts, 4096 outstanding, and requests, 256 outstanding; peers that know each other by a secret or by TLS',
  unit: 'messages or requests',
  contestants,
  charts: [
    { title: 'protected, one way, 140 bytes', figure: 'rate', of: [barePlain, bareTls, ...protections.map(oneWay)] },
    { title: 'protected, request and reply', figure: 'rate', of: protections.map(request) },
  ],
  comparisons: [
    { of: oneWay('secret'), to: oneWay('plain'), figure: 'rate' },
    { of: oneWay('tls'), to: oneWay('plain'), figure: 'rate' },
    { of: oneWay('mutual tls'), to: oneWay('plain'), figure: 'rate' },
    { of: bareTls, to: barePlain, figure: 'rate' },
    { of: request('secret'), to: request('plain'), figure: 'rate' },
    { of: request('tls'), to: request('plain'), figure: 'rate' },
    { of: request('mutual tls'), to: request('plain'), figure: 'rate' },
  ],
}
