#!/usr/bin/env python3
"""A client of a Homing cluster, behind a broker. Written from docs/protocol.md; needs Python 3.9 and msgpack.

There is no thread: frames are handled while a method waits. Who is silent for 5 s is dead: call one more often.
"""
import argparse
import hmac
import io
import secrets
from collections import deque, namedtuple
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from select import select
from socket import create_connection
from time import monotonic
from urllib.parse import urlsplit

import msgpack

HELLO, WELCOME, PROOF, READY, REJECT, PING, PONG, CLOSE, ROUTE, UNROUTE = 1, 2, 3, 4, 5, 8, 9, 10, 16, 17
RESUME, ACK, LEAVE, MESSAGE, REQUEST, REPLY, CANCEL, REFUSE, ROOM, TELL, CALL, VOID = 32, 33, 34, *range(48, 57)
NOT_HERE, FULL, BAD_BODY, NO_HANDLER = 1, 2, 3, 4
STATUS = "delivered", "absent", "overloaded", "refused", "refused", "refused", "absent", "overloaded"
FRAME_MAX, INBOX_MAX, SILENCE_S = (1 << 20) + 4096, 256, 5

Run = namedtuple("Run", "identity incarnation")
Message = namedtuple("Message", "sender to body")


def number(value, size=4):
    return value.to_bytes(size, "big")


def text(value, size=1):
    return number(len(value.encode()), size) + value.encode()


class Frame(io.BytesIO):
    """What came, taken apart field by field. A ValueError or KeyError says that it is broken."""

    def take(self, size):
        data = self.read(size)
        if len(data) < size:
            raise ValueError("a frame ends within a field")
        return data

    def number(self, size=4):
        return int.from_bytes(self.take(size), "big")

    def text(self):
        return self.take(self.number(1)).decode()

    def run(self):
        return Run(self.text(), self.text())

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
    """The acknowledged frames to and from one run, over one way through the broker."""

    def __init__(self, write_frame, run, label, pair=0, in_label=None):
        self.run, self.label, self.pair, self.in_label = run, label, pair, in_label
        self._write_frame, self.id, self.remote_id = write_frame, 1 + secrets.randbelow(2**32 - 1), 0
        self.sent = self.answered = self.taken = 0  # how many frames: ours, ours of which we heard, theirs
        self.refusal, self.numbered = (None, 0), {}  # their last one: sequence, reason; their numbers of addresses
        self.refused, self.room_owed = {}, set()  # by us: {address: (reason, sequence)}; addresses
        self.write(RESUME, number(self.id) + number(0) + number(0))

    def write(self, kind, payload=b""):
        self._write_frame(kind, number(self.label, 3) + payload)

    def send(self, kind, payload):
        """Writes a numbered frame. Returns its sequence."""
        self.write(kind, number(self.sent) + payload)
        self.sent += 1
        return self.sent - 1

    def receive(self, kind, frame, client):
        """Handles a frame; what it asks for is up to the client."""
        if kind == RESUME:
            theirs, ours, _ = frame.number(), frame.number(), frame.number()
            if ours in (0, self.id):  # else it is meant for an older channel
                self.remote_id = theirs
        elif kind == LEAVE:
            self.write(LEAVE)
        elif kind == ACK:
            self.answered = frame.number() + 1
            self.refused = {to: (why, at) for to, (why, at) in self.refused.items() if at >= self.answered}
        elif self.remote_id:
            ...
