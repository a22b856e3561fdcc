#!/usr/bin/env python3
"""A client of a Homing cluster that joins through a broker. Written from docs/protocol.md; needs msgpack.

Frames are handled while a method waits: call one every second or so, for who is silent for 5 s is taken for dead.
"""
import argparse
import hmac
import io
import itertools
import secrets
import socket
from collections import deque, namedtuple
from contextlib import suppress
from hashlib import sha256
from math import inf
from pathlib import Path
from select import select
from time import monotonic
from urllib.parse import urlsplit

import msgpack

HELLO, WELCOME, PROOF, READY, REJECT, PING, PONG, CLOSE, ROUTE, UNROUTE = 1, 2, 3, 4, 5, 8, 9, 10, 16, 17
RESUME, ACK, LEAVE, MESSAGE, REQUEST, REPLY, CANCEL, REFUSE, ROOM, TELL, CALL, VOID = 32, 33, 34, *range(48, 57)
ACCEPTED, NOT_HERE, FULL, BAD_BODY, NO_HANDLER = range(5)
STATUS = "delivered", "absent", "overloaded", "refused", "refused", "refused", "absent", "overloaded"
FRAME_MAX, INBOX_MAX, SILENCE_S = (1 << 20) + 4096, 256, 5

Run = namedtuple("Run", "identity incarnation")
Message = namedtuple("Message", "sender to body id")


def number(value, size=4):
    return value.to_bytes(size, "big")


def text(value, size=1):
    return number(len(value.encode()), size) + value.encode()


class Frame(io.BytesIO):
    """What came, to be read field by field. ValueError and KeyError say that it is broken."""

    def number(self, size=4):
        return int.from_bytes(self.take(size), "big")

    def take(self, size):
        data = self.read(size)
        if len(data) < size:
            raise ValueError("a frame ends within a field")
        return data

    def run(self):
        return Run(*(self.take(self.number(1)).decode() for _ in Run._fields))

    def address(self, numbered):
        head = self.number(2)
        if head & 0x8000:
            return numbered[head & 0x7FFF]
        given = self.number(2) if head & 0x4000 else None
        numbered[given] = self.take(head & 0x3FFF).decode()
        return numbered[given]

    def body(self):
        return msgpack.unpackb(self.read(), timestamp=3, unicode_errors="replace")


class Channel:
    """The state of the numbered frames to and from one run, on one way through the broker."""

    def __init__(self, run, label, pair=0, in_label=None):
        self.run, self.label, self.pair, self.in_label = run, label, pair, in_label
        self.id, self.remote_id = 1 + secrets.randbelow(2**32 - 1), 0
        self.sent = self.answered = self.taken = 0
        self.refusal, self.refused, self.numbered = (None, ACCEPTED), {}, {}


class HomingClient:
    """Is a member of the cluster from the start until `close`. Raises ConnectionError when the link is lost."""

    def __init__(self, endpoint, identity, secret=None, cluster="homing"):
        self._run, self._ids = Run(identity, secrets.token_hex(8)), itertools.count(1)
        self._claims, self._inbox, self._room_owed = {}, deque(), set()
        self._socket = socket.create_connection((urlsplit(endpoint).hostname, urlsplit(endpoint).port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._broker, self._channels = Channel(self._shake_hands(cluster, (secret or "").encode()), 0, 0, 0), []
        self._attach(self._broker)
        about = {"role": "peer", "state": "up", "version": "python", "machine": socket.gethostname()}
        self._ask("join", 20, member={**self._run._asdict(), **about, "endpoints": [], "metadata": {}})

    def connect(self, address):
        """Takes the address, whoever held it."""
        claim = self._claims[address] = next(self._ids)
        (former,) = self._ask("claim", claims=[{"address": address, "claim": claim}], ms=9000)["previous"]
        if former and former["incarnation"] != self._run.incarnation:
            self._ask("note", to=former, address=address, by={**self._run._asdict(), "claim": claim})

    def send(self, to, body, sender="", timeout=10):
        """Sends to whoever holds the address. Returns what became of it: see STATUS, else 'unreachable' or 'unknown'."""
        (located,) = self._ask("find", timeout, addresses=[to])["located"]
        if not located:
            return STATUS[NOT_HERE]
        run = Run(located["owner"]["identity"], located["owner"]["incarnation"])
        if not self._find("run", run):
            self._open(run)
