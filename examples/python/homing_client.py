#!/usr/bin/env python3
"""A client of a Homing cluster that joins through a broker, written from docs/protocol.md. Needs Python 3.8 and msgpack.

There is one thread: frames are handled while a method waits, so `receive` wants to be called every second or so, if only
with a timeout of 0; a client that is silent for 5 seconds is taken for dead. A link that broke is a HomingError 'LOST'.
"""
import argparse
import hmac
import io
import secrets
import socket
import struct
import time
from collections import deque, namedtuple
from contextlib import closing
from hashlib import sha256
from select import select
from urllib.parse import urlsplit

import msgpack

HELLO, WELCOME, PROOF, READY, REJECT, PING, PONG, CLOSE, ROUTE, UNROUTE, RESUME, ACK, LEAVE = *range(1, 6), 8, 9, 10, 16, 17, 32, 33, 34
MESSAGE, REQUEST, REPLY, CANCEL, REFUSE, ROOM, TELL, CALL, VOID = range(48, 57)
ACCEPTED, NOT_HERE, FULL, BAD_BODY, NO_HANDLER, NOT_ALLOWED, MOVING, UNSURE = range(8)
STATUS = {ACCEPTED: "delivered", NOT_HERE: "absent", MOVING: "absent", FULL: "overloaded", UNSURE: "unreachable", None: "unknown"}
FRAME_MAX, INBOX_MAX = (1 << 20) + 4096, 256

Run = namedtuple("Run", "identity incarnation")
Message = namedtuple("Message", "sender to body id")


class HomingError(Exception):
    """Two arguments: a code of the protocol, and words."""


def sized(text, size):
    return len(text.encode()).to_bytes(size, "big") + text.encode()


class Fields(io.BytesIO):
    """A frame, taken apart field by field."""

    def bytes(self, size):
        data = self.read(size)
        if len(data) < size:
            raise HomingError("BAD_FRAME", "a frame ends within a field")
        return data

    def number(self, size=4):
        return int.from_bytes(self.bytes(size), "big")

    def text(self, size=None):
        return self.bytes(self.number(1) if size is None else size).decode(errors="replace")

    def run(self):
        return Run(self.text(), self.text())

    def address(self, known):
        head = self.number(2)
        if head & 0x8000:
            if head & 0x7FFF not in known:
                raise HomingError("BAD_FRAME", "an address by a number that was not given")
            return known[head & 0x7FFF]
        number = self.number(2) if head & 0x4000 else None
        known[number] = self.text(head & 0x3FFF)
        return known[number]

    def body(self):
        return msgpack.unpackb(self.read(), timestamp=3, unicode_errors="replace")


class Channel:
    """The numbered, acknowledged frames to and from one run, for as long as the way there lasts."""

    def __init__(self, write, run, label, pair, in_label=None):
        self._write, self.run, self.label, self.pair, self.in_label = write, run, label, pair, in_label
        self.id, self.remote_id = 1 + secrets.randbelow(2**32 - 1), None
        self.sent = self.accepted = self.taken = self.acknowledged = 0  # how many frames: two of ours, two of theirs
        self.answers, self.known, self.refused = {}, {}, {}
        self.write(RESUME, self.id, 0, 0)

    def write(self, kind, *numbers, payload=b""):
        self._write(kind, self.label.to_bytes(3, "big"), struct.pack(f">{len(numbers)}I", *numbers), payload)

    def send(self, kind, payload):
        """Returns the sequence of the frame."""
        self.write(kind, self.sent, payload=payload)
        self.sent += 1
        return self.sent - 1

    def acknowledge(self):
        if self.acknowledged < self.taken:
            self.acknowledged = self.taken
            self.write(ACK, self.taken - 1)

    def answer(self, sequence):
        """0 when the frame was accepted, else why it was refused; None: not known yet."""
        return self.answers.get(sequence, ACCEPTED if sequence < self.accepted else None)


class HomingClient:
    """`join` first; then `connect`, `send` and `receive` as you like; `close` in the end."""

    def __init__(self, url, identity, secret=b"", cluster="homing"):
        self.run, self.addresses = Run(identity, secrets.token_hex(8)), {}
        self._url, self._secret, self._cluster = urlsplit(url), secret, cluster
        self._channels, self._replies, self._inbox, self._wanting_room = [], {}, deque(), set()
        self._count, self._bytes = 0, b""

    def join(self):
        """Becomes a member of the cluster."""
        self._socket = socket.create_connection((self._url.hostname, self._url.port), timeout=2)
        broker = self._shake_hands()
        self._channels.append(Channel(self._write, broker, label=0, pair=0, in_label=0))
        about = {"role": "peer", "state": "up", "version": "python", "machine": socket.gethostname()}
        self._ask(op="join", member={**self.run._asdict(), **about, "endpoints": [], "metadata": {}}, timeout=20)

    def connect(self, address):
        """Takes the address, whoever held it."""
        claim = self.addresses[address] = self._counted()
        (former,) = self._ask(op="claim", claims=[{"address": address, "claim": claim}], ms=9000)["previous"]
        if former and former["incarnation"] != self.run.incarnation:
            self._ask(op="note", to=former, address=address, by={**self.run._asdict(), "claim": claim})

    def send(self, to, body, sender="", timeout=10):
        """Sends to whoever holds the address. Returns a word of STATUS, or 'refused'."""
        (located,) = self._ask(op="find", addresses=[to])["located"]
        if not located:
            return "absent"
        owner, until = Run(located["owner"]["identity"], located["owner"]["incarnation"]), time.monotonic() + timeout
        if not self._wait(lambda: self._channel_to(owner).remote_id, until):
            return "unreachable"
        channel, number = self._channel_to(owner), self._counted().to_bytes(6, "big")
        sequence = channel.send(MESSAGE, sized(to, 2) + sized(sender, 2) + number + self._pack(body))
        self._wait(lambda: channel.answer(sequence) is not None or channel not in self._channels, until)
        return STATUS.get(channel.answer(sequence), "refused")
