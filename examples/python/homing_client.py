#!/usr/bin/env python3
"""A client of a Homing cluster, through a broker; written from docs/protocol.md alone. Needs Python 3.8 and msgpack.

    homing_client.py tcp://127.0.0.1:7400 IDENTITY ADDRESS [--send TO TEXT]
"""
import argparse, asyncio, hashlib, hmac, logging, os, secrets, socket, struct
from collections import namedtuple

import msgpack

HELLO, WELCOME, PROOF, READY, REJECT, PING, PONG, CLOSE, ROUTE, UNROUTE, RESUME, ACK, LEAVE = 1, 2, 3, 4, 5, 8, 9, 10, 16, 17, 32, 33, 34
MESSAGE, REQUEST, REPLY, CANCEL, REFUSE, ROOM, TELL, CALL, VOID = range(48, 57)
NOT_HERE, FULL, BAD_BODY, NO_HANDLER, NOT_ALLOWED, MOVING, UNSURE = range(1, 8)
STATUS = {0: "delivered", NOT_HERE: "absent", MOVING: "absent", FULL: "overloaded", UNSURE: "unreachable"}  # else: refused
FRAME_MAX, INBOX_MAX, STALE_S, DROPPED = (1 << 20) + 4096, 1000, 5, 3

Message = namedtuple("Message", "sender to body id")
Run = namedtuple("Run", "identity incarnation")


class HomingError(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code = code


def pack(value):
    return msgpack.packb(value, datetime=True)


def unpack(data):
    big = lambda code, raw: int.from_bytes(raw, "big", signed=True) if code == 0x42 else msgpack.ExtType(code, raw)
    return msgpack.unpackb(data, timestamp=3, ext_hook=big, unicode_errors="replace")


def text(format, value):
    """A text behind its length: ">B" short texts, ">H" addresses."""
    return struct.pack(format, len(value.encode())) + value.encode()


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        if self.at > len(self.data):
            raise HomingError("BAD_FRAME", "a frame ends within a field")
        return self.data[self.at - count : self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "big")

    def short(self):
        return self.take(self.number(1)).decode()

    def address(self, numbered):
        head = self.number(2)
        if head & 0x8000:
            return numbered[head & 0x7FFF]
        number = self.number(2) if head & 0x4000 else None
        address = self.take(head & 0x3FFF).decode()
        if number is not None:
            numbered[number] = address
        return address

    def rest(self):
        return self.data[self.at :]


class Channel:
    """The acknowledged stream of frames to and from one run. It outlives its way through the broker, but not the link."""

    def __init__(self, run, write):
        self.run, self.write, self.id, self.remote_id = run, write, secrets.randbelow(2**32 - 1) + 1, 0
        self.label = self.pair = self.in_label = self.next = self.written = self.expected = 0
        self.resumed, self.unanswered, self.numbered, self.refused = False, {}, {}, {}

    def control(self, kind, *numbers):
        self.write(kind, struct.pack(f">{len(numbers) + 1}I", self.label, *numbers)[1:])

    def resume(self):
        self.resumed = False
        self.control(RESUME, self.id, self.remote_id, self.expected)

    def send(self, kind, payload):
        """Its answer, a future: 0 when it is accepted, else why it is refused."""
        answer = asyncio.get_running_loop().create_future()
        self.unanswered[self.next] = kind, payload, answer
        self.next += 1
        self.flush()
        return self.next - 1, answer

    def flush(self):
        while self.resumed and self.written < self.next:
            if self.written in self.unanswered:
                kind, payload, _ = self.unanswered[self.written]
                self.write(kind, struct.pack(">II", self.label, self.written)[1:] + payload)
            self.written += 1
