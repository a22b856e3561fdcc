#!/usr/bin/env python3
"""A client of a Homing cluster, behind a broker: docs/protocol.md in Python 3.9 and msgpack.

Frames are handled while a method waits: call one every second or so. Who is silent for 5 s is taken for dead.
"""
import argparse
import hmac
import secrets
from collections import namedtuple
from contextlib import closing, suppress
from hashlib import sha256
from io import BytesIO
from itertools import count
from pathlib import Path
from select import select
from socket import IPPROTO_TCP, MSG_WAITALL, TCP_NODELAY, create_connection, gethostname
from struct import calcsize, error as StructError, pack, unpack
from time import monotonic

from msgpack import packb, unpackb

HELLO, WELCOME, PROOF, READY, REJECT, PING, PONG, CLOSE, ROUTE, UNROUTE = 1, 2, 3, 4, 5, 8, 9, 10, 16, 17
RESUME, ACK, LEAVE, MESSAGE, REQUEST, REPLY, CANCEL, REFUSE, ROOM, TELL, CALL, VOID = 32, 33, 34, *range(48, 57)
NOT_HERE, FULL, BAD_BODY, NO_HANDLER = 1, 2, 3, 4
STATUS = "delivered", "absent", "overloaded", "refused", "refused", "refused", "absent", "overloaded"
FRAME_MAX, INBOX_MAX = (1 << 20) + 4096, 256

Run = namedtuple("Run", "identity incarnation")
Message = namedtuple("Message", "sender to body")


def text(value, length="B"):
    data = value.encode()
    return pack(f">{length}{len(data)}s", len(data), data)


class Frame(BytesIO):
    """What follows kind and label, to be read field by field."""

    def take(self, layout):
        return unpack(f">{layout}", self.read(calcsize(f">{layout}")))

    def text(self, size):
        return self.take(f"{size}s")[0].decode()

    def address(self, numbered):
        (head,) = self.take("H")
        if head & 0x8000:
            return numbered[head & 0x7FFF]
        (given,) = self.take("H") if head & 0x4000 else (None,)
        numbered[given] = self.text(head & 0x3FFF)
        return numbered[given]


class Channel:
    """The numbered frames to and from one run, under one label each way."""

    def __init__(self, write, label, pair, in_label):
        self._write, self.label, self.pair, self.in_label = write, label, pair, in_label
        self.id, self.remote_id, self.sent, self.answered = secrets.randbits(32) or 1, 0, 0, 0
        self.refusals, self.refused, self.numbered = {}, {}, {}
        self.write(RESUME, pack(">III", self.id, 0, 0))

    def write(self, kind, payload=b""):
        self._write(kind, self.label + payload)

    def send(self, kind, payload):
        self.write(kind, pack(">I", self.sent) + payload)
        self.sent += 1
        return self.sent - 1


class HomingClient:
    """A member of the cluster until it is closed. A lost link, and a broker that says no, raise ConnectionError."""

    def __init__(self, endpoint, identity, secret=None, cluster="homing"):
        self.run, self._ids = Run(identity, secrets.token_hex(8)), count(1)
        self._claims, self._inbox, self._full, self._replies, self._channels = {}, [], set(), {}, {}
        host, port = endpoint.replace("tcp://", "").rsplit(":", 1)
        self._socket = create_connection((host, port), timeout=2)
        self._socket.settimeout(None)
        self._socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self._shake_hands(cluster, (secret or "").encode())
        self._broker = self._channels[None] = Channel(self._write, bytes(3), 0, bytes(3))
        about = {"role": "peer", "state": "up", "version": "python", "machine": gethostname()}
        self._ask("join", member={**self.run._asdict(), **about, "endpoints": [], "metadata": {}})

    def connect(self, address):
        """Takes the address, whoever held it."""
        claim = self._claims[address] = next(self._ids)
        (former,) = self._ask("claim", claims=[{"address": address, "claim": claim}], ms=9000)["previous"]
        if former and former["incarnation"] != self.run.incarnation:
            self._ask("note", to=former, address=address, by={**self.run._asdict(), "claim": claim})

    def send(self, to, body, sender="", timeout=10):
        """Sends to whoever holds the address. Returns a word of STATUS, 'unreachable', or 'unknown'."""
        (located,) = self._ask("find", addresses=[to])["located"]
        if not located:
            return "absent"
        run = Run(located["owner"]["identity"], located["owner"]["incarnation"])
        if run not in self._channels:
            self._open(run)
        self._pump(lambda: run not in self._channels or self._channels[run].remote_id, timeout)
        channel = self._channels.get(run)
        if not channel or not channel.remote_id:
            return "unreachable"
        head = text(to, "H") + text(sender, "H") + pack(">HI", 0, next(self._ids))
        sequence = channel.send(MESSAGE, head + packb(body, datetime=True))
        answered = self._pump(lambda: channel.answered > sequence, timeout)
        return STATUS[channel.refusals.pop(sequence, 0)] if answered else "unknown"

    def receive(self, timeout):
        """The next message, or None when none comes in time."""
        return self._inbox.pop(0) if self._pump(lambda: self._inbox, timeout) else None

    def close(self):
        """Leaves the cluster: what was connected here reads as absent at once."""
        with self._socket, suppress(OSError):  # a link that is lost needs no goodbye
            self._ask("leave")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _ask(self, op, **details):
        """Asks the broker."""
        call = next(self._ids)
        self._pump(lambda: self._broker.remote_id, 2)
        self._broker.send(CALL, pack(">II", call, 20_000) + text("directory/1") + packb({"op": op, **details}))
        if not self._pump(lambda: call in self._replies, 20):
            raise TimeoutError(f"the broker did not answer '{op}'")
        failed, answer = self._replies.pop(call)
        if failed:
            raise ConnectionError(f"{answer['code']}: {answer['message']}")
        return answer

    def _shake_hands(self, cluster, secret):
        about = {"capabilities": [], "nonce": secrets.token_bytes(32), **self.run._asdict()}
        hello = packb({"versions": [1, 1], "cluster": cluster, "role": "peer", **about})
        self._write(HELLO, hello)
        welcome = self._expect(WELCOME)
        said = b"".join(pack(">I", len(part)) + part for part in (b"", hello, welcome))
        transcript = sha256(b"homing handshake 1\n" + said).digest()
        proofs = [hmac.digest(secret, who + transcript, "sha256") for who in (b"dialler", b"listener")]
        mine, theirs = proofs if secret else (b"", b"")
        self._write(PROOF, packb({"proof": mine}))
        if not hmac.compare_digest(unpackb(self._expect(READY))["proof"], theirs):
            raise ConnectionRefusedError("the broker has another secret, or none")

    def _expect(self, kind):
        frame = self._read()
        if frame[0] != kind:
            raise ConnectionRefusedError(unpackb(frame[1:]))
        return frame[1:]

    def _write(self, kind, payload):
        self._socket.sendall(pack(">IB", 1 + len(payload), kind) + payload)

    def _read(self):
        size = int.from_bytes(self._socket.recv(4, MSG_WAITALL), "big")
        frame = self._socket.recv(min(size, FRAME_MAX), MSG_WAITALL)
        if not frame or len(frame) < size:
            raise ConnectionError("the link is lost")
        return frame

    def _pump(self, done, timeout):
        """Handles what has come, and goes on until `done` is true or the time is over. Returns what `done` says."""
        until = monotonic() + timeout
        while True:
            while self._full and len(self._inbox) <= INBOX_MAX // 2:
                channel, address = self._full.pop()
                channel.send(ROOM, text(address, "H"))
            if not select([self._socket], [], [], 0 if done() else max(0, until - monotonic()))[0]:
                return done()
            self._handle(self._read())

    def _handle(self, data):
        kind, label, frame = data[0], data[1:4], Frame(data[4:])
        channel = next((each for each in self._channels.values() if each.in_label == label), None)
        if kind == PING:
            self._write(PONG, data[1:])
        elif kind == ROUTE:
            self._routed(label, *frame.take("I"), Run(frame.text(*frame.take("B")), frame.text(*frame.take("B"))))
        elif kind == UNROUTE:
            ...
        elif kind < RESUME:
            raise ConnectionError("the broker closed the link")
        elif channel and kind == RESUME:
            theirs, ours, _ = frame.take("III")
            if ours in (0, channel.id):
                channel.remote_id = theirs
        elif channel and kind == LEAVE:
            channel.write(LEAVE)
        elif channel and kind == ACK:
            channel.answered = frame.take("I")[0] + 1
