#!/usr/bin/env python3
"""A client of a Homing cluster that joins through a broker, written from docs/protocol.md. Needs Python 3.8 and msgpack.

There is one thread: frames are handled while a method waits. So call `receive` every second or so, if only with a timeout
of 0: who is silent for 5 seconds is taken for dead. When the link breaks, the method that waits raises ConnectionError.
"""
import argparse
import hmac
import io
import itertools
import os
import secrets
import select
import socket
from collections import deque, namedtuple
from hashlib import sha256
from math import inf
from time import monotonic
from urllib.parse import urlsplit

import msgpack

HELLO, WELCOME, PROOF, READY, REJECT, PING, PONG, CLOSE, ROUTE, UNROUTE = 1, 2, 3, 4, 5, 8, 9, 10, 16, 17
RESUME, ACK, LEAVE, MESSAGE, REQUEST, REPLY, CANCEL, REFUSE, ROOM, TELL, CALL, VOID = 32, 33, 34, *range(48, 57)
ACCEPTED, NOT_HERE, FULL, BAD_BODY, NO_HANDLER, NOT_ALLOWED, MOVING, UNSURE, LOST = range(9)  # LOST: no answer came
STATUS = "delivered", "absent", "overloaded", "refused", "refused", "refused", "absent", "unreachable", "unknown"
HANDSHAKE_MAX, FRAME_MAX, INBOX_MAX, STALE_S = 4096, (1 << 20) + 4096, 256, 5

Run = namedtuple("Run", "identity incarnation")
Message = namedtuple("Message", "sender to body id")


class HomingError(Exception):
    """Refused by the broker. Two arguments: a code of the protocol, and words."""


def number(value, size=4):
    return value.to_bytes(size, "big")


def text(value, size):
    return number(len(value.encode()), size) + value.encode()


def pack(value):
    return msgpack.packb(value, datetime=True)


class Fields(io.BytesIO):
    """A frame, taken apart field by field. A ValueError or KeyError says that it is broken."""

    def take(self, size):
        data = self.read(size)
        if len(data) < size:
            raise ValueError("a frame ends within a field")
        return data

    def number(self, size=4):
        return int.from_bytes(self.take(size), "big")

    def text(self, size=None):
        return self.take(self.number(1) if size is None else size).decode(errors="replace")

    def run(self):
        return Run(self.text(), self.text())

    def address(self, known):
        head = self.number(2)
        if head & 0x8000:
            return known[head & 0x7FFF]
        given = self.number(2) if head & 0x4000 else None
        known[given] = self.text(head & 0x3FFF)
        return known[given]

    def body(self):
        return msgpack.unpackb(self.read(), timestamp=3, unicode_errors="replace")


class Channel:
    """The numbered, acknowledged frames to and from one run. It keeps none of its own to send them again after a break."""

    def __init__(self, write, run):
        self._write, self.run, self.id, self.remote_id = write, run, 1 + secrets.randbelow(2**32 - 1), 0
        self.sent = self.answered = self.taken = 0  # how many frames: sent and answered of ours, taken of theirs
        self.refusals, self.refused, self.known = {}, {}, {}

    def attach(self, label, pair, in_label):
        self.label, self.pair, self.in_label, self.ended = label, pair, in_label, False
        self.write(RESUME, number(self.id) + number(self.remote_id) + number(self.taken))

    def write(self, kind, payload=b""):
        self._write(kind, number(self.label, 3) + payload)

    def send(self, kind, payload):
        """Returns the sequence of the frame."""
        self.write(kind, number(self.sent) + payload)
        self.sent += 1
        return self.sent - 1


class HomingClient:
    """`join` first; then `connect`, `send` and `receive` as you like; `close` at the end."""

    def __init__(self, url, identity, secret=b"", cluster="homing"):
        self.run, self.addresses = Run(identity, secrets.token_hex(8)), {}
        self._url, self._secret, self._cluster = urlsplit(url), secret, cluster
        self._channels, self._inbox, self._short_of_room, self._call = [], deque(), set(), 0
        self._labels, self._claims, self._numbers = itertools.count(1), itertools.count(1), itertools.count(1)

    def join(self):
        """Becomes a member of the cluster."""
        self._socket = socket.create_connection((self._url.hostname, self._url.port), timeout=2)
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._broker = Channel(self._write, self._shake_hands())
        self._channels.append(self._broker)
        self._broker.attach(0, 0, 0)
        about = {"role": "peer", "state": "up", "version": "python", "machine": socket.gethostname()}
        self._ask(20, op="join", member={**self.run._asdict(), **about, "endpoints": [], "metadata": {}})

    def connect(self, address):
        """Takes the address, whoever held it."""
        claim = self.addresses[address] = next(self._claims)
        (former,) = self._ask(op="claim", claims=[{"address": address, "claim": claim}], ms=9000)["previous"]
        if former and former["incarnation"] != self.run.incarnation:
            self._ask(op="note", to=former, address=address, by={**self.run._asdict(), "claim": claim})

    def send(self, to, body, sender="", timeout=10):
        """Sends to whoever holds the address. Returns what became of it, a word of STATUS."""
        until = monotonic() + timeout
        (located,) = self._ask(timeout, op="find", addresses=[to])["located"]
        if not located:
            return STATUS[NOT_HERE]
        owner = Run(located["owner"]["identity"], located["owner"]["incarnation"])
        channel = self._find(run=owner) or self._open(Channel(self._write, owner))
        if not self._wait(lambda: channel.ended or channel.remote_id, until) or channel.ended:
            return STATUS[UNSURE]
        head = text(to, 2) + text(sender, 2) + number(next(self._numbers), 6)
        sequence = channel.send(MESSAGE, head + pack(body))
        self._wait(lambda: channel.ended or channel.answered > sequence, until)
        return STATUS[channel.refusals.pop(sequence, ACCEPTED if channel.answered > sequence else LOST)]

    def receive(self, timeout=inf):
        """The next message, or None when the time is over."""
        self._wait(lambda: self._inbox, monotonic() + timeout)
        return self._inbox.popleft() if self._inbox else None

    def close(self):
        """Leaves the cluster: what was connected here reads as absent at once."""
        try:
            self._ask(2, op="leave")
        finally:
            self._socket.close()

    def _ask(self, timeout=10, **question):
        """Asks the broker, in directory/1."""
        self._call, self._reply, until = self._call + 1, None, monotonic() + timeout
        self._wait(lambda: self._broker.remote_id, until)
        head = number(self._call) + number(int(timeout * 1000) + 1) + text("directory/1", 1)
        self._broker.send(CALL, head + pack(question))
        if not self._wait(lambda: self._reply, until):
            raise HomingError("TIMEOUT", f"the broker did not answer '{question['op']}'")
        failed, answer = self._reply
        if failed:
            raise HomingError(answer["code"], answer["message"])
        return answer

    # The link

    def _shake_hands(self):
        about = {"role": "peer", "capabilities": [], "nonce": secrets.token_bytes(32)}
        hello = pack({"versions": [1, 1], "cluster": self._cluster, **self.run._asdict(), **about})
        self._write(HELLO, hello)
        welcome = self._expect(WELCOME)
        they = msgpack.unpackb(welcome)
        if (they["cluster"], they["role"], they["secret"]) != (self._cluster, "broker", bool(self._secret)):
            raise HomingError("REFUSED", "another cluster, not a broker, or only one of both has a secret")
        said = b"".join(number(len(part)) + part for part in (b"", hello, welcome))
        transcript = sha256(b"homing handshake 1\n" + said).digest()
        proofs = [hmac.new(self._secret, who + transcript, sha256).digest() for who in (b"dialler", b"listener")]
        mine, theirs = proofs if self._secret else (b"", b"")
        self._write(PROOF, pack({"proof": mine}))
        if not hmac.compare_digest(msgpack.unpackb(self._expect(READY))["proof"], theirs):
            raise HomingError("REFUSED", "the broker has another secret")
        return Run(they["identity"], they["incarnation"])

    def _expect(self, kind):
        frame = self._read(HANDSHAKE_MAX)
        if frame[0] == REJECT:
            reason = msgpack.unpackb(frame[1:])
            raise HomingError(reason["code"], reason["text"])
        if frame[0] != kind:
            raise ConnectionError(f"a frame of kind {frame[0]}, not {kind}")
        return frame[1:]

    def _write(self, kind, payload):
        self._socket.sendall(number(1 + len(payload)) + number(kind, 1) + payload)

    def _read(self, size_max):
        """The next frame, without its length."""
        size = int.from_bytes(self._socket.recv(4, socket.MSG_WAITALL), "big")
        if size > size_max:
            raise ConnectionError(f"a frame of {size} bytes")
        frame = self._socket.recv(size, socket.MSG_WAITALL)
        if not frame or len(frame) < size:
            raise ConnectionError("the broker closed the connection")
        return frame

    def _wait(self, done, until):
        """Handles what has come, and goes on until `done` is true or the time is over. Returns whether it is done."""
        while True:
            left = 0 if done() else max(0, until - monotonic())
            if select.select([self._socket], [], [], min(left, STALE_S))[0]:
                self._handle(Fields(self._read(FRAME_MAX)))
                self._tell_room()
            elif left <= STALE_S:
                return bool(done())
            else:
                raise ConnectionError(f"the broker was silent for {STALE_S} s: it would have sent pings")

    def _handle(self, frame):
        kind = frame.number(1)
        if kind == PING:
            self._write(PONG, frame.take(4))
        elif kind == CLOSE:
            raise ConnectionError(f"the broker closed the link, reason {frame.number(1)}")
        elif kind == ROUTE:
            self._routed(frame.number(3), frame.number(), they=frame.run(), we=frame.run())
        elif kind == UNROUTE:
            label, theirs = frame.number(3), frame.number(1)
            self._give_up(self._find(in_label=label) if theirs else self._find(label=label))
        elif kind < RESUME:
            raise ConnectionError(f"a frame of kind {kind}")
        else:
            channel = self._find(in_label=frame.number(3))
            try:
                if channel:
                    self._handle_in(channel, kind, frame)
            except (ValueError, KeyError):
                self._give_up(channel)  # the other run broke the protocol, not the broker

    # Channels, and their ways through the broker

    def _find(self, **wanted):
        fits = (channel for channel in self._channels if wanted.items() <= vars(channel).items())
        return next(fits, None)

    def _open(self, channel, pair=None, in_label=None):
        label, pair = next(self._labels), pair or 1 + secrets.randbelow(2**32 - 1)
        names = b"".join(text(name, 1) for name in (*self.run, *channel.run))
        self._write(ROUTE, number(label, 3) + number(pair) + names)
        channel.attach(label, pair, in_label)
        self._channels.append(channel)
        return channel

    def _routed(self, label, pair, they, we):
        """Another run opens a way, or its half of one that we opened."""
        channel = self._find(run=they)
        if we != self.run:
            self._write(UNROUTE, number(label, 3) + b"\0\3")
        elif channel and channel.pair == pair:
            channel.in_label = label
        elif channel and not channel.in_label and self.run.identity.encode("utf-16-be") < they.identity.encode("utf-16-be"):
            pass  # both opened one at once: ours stands
        else:
            self._give_up(channel)
            self._open(channel or Channel(self._write, they), pair, label)

    def _give_up(self, channel):
        """Its way. Unless it gets another one, what is not answered on it never will be."""
        if channel is self._broker:
            raise ConnectionError("the broker has forgotten this client")
        if channel:
            channel.ended = True
            self._channels.remove(channel)
            self._write(UNROUTE, number(channel.label, 3) + b"\1\3")

    def _handle_in(self, channel, kind, frame):
        if kind == RESUME:
            theirs, ours, expected = frame.number(), frame.number(), frame.number()
            if channel.remote_id not in (0, theirs) or ours == channel.id and expected != channel.sent:
                self._give_up(channel)  # they have forgotten it, or want frames again that we have not kept
            elif ours in (0, channel.id):
                channel.remote_id = theirs
        elif not channel.remote_id:
            pass  # it is of an older channel of ours
        elif kind == ACK:
            channel.answered = frame.number() + 1
            channel.refused = {to: (why, at) for to, (why, at) in channel.refused.items() if at >= channel.answered}
        elif kind == LEAVE:
            channel.write(LEAVE)
        elif frame.number() != channel.taken:
            raise ValueError("a frame out of turn")
        else:
            channel.taken += 1
            reason = self._take(channel, kind, frame)
            if reason:
                channel.send(REFUSE, number(channel.taken - 1) + number(reason, 1))
            channel.write(ACK, number(channel.taken - 1))

    def _take(self, channel, kind, frame):
        """Accepts a numbered frame, or says why not."""
        if kind in (MESSAGE, REQUEST, VOID):
            to, sender = frame.address(channel.known), frame.address(channel.known)
            return ACCEPTED if kind == VOID else self._deliver(channel, kind, to, sender, frame)
        if kind == REFUSE:
            sequence = frame.number()
            channel.refusals[sequence] = frame.number(1)
        elif kind == REPLY and channel is self._broker:
            call, failed = frame.number(), frame.number(1)
            if call == self._call:
                self._reply = failed, frame.body()
        elif kind == TELL and channel is self._broker:
            self._hear(frame.text(), frame.body())
        elif kind == CALL:
            return self._called(channel, frame.number(), frame.number(), frame.text(), frame.body())
        return ACCEPTED

    def _deliver(self, channel, kind, to, sender, frame):
        name = f"{channel.run.identity}/{channel.run.incarnation}/{frame.number(6)}"
        if to in channel.refused:
            reason, _ = channel.refused[to]  # until they know of it: nothing overtakes what was refused
        elif to not in self.addresses:
            reason = NOT_HERE
        elif kind == REQUEST:
            return NO_HANDLER
        elif len(self._inbox) >= INBOX_MAX:
            reason = FULL
        else:
            try:
                self._inbox.append(Message(sender, to, frame.body(), name))
            except (ValueError, TypeError, OverflowError):
                return BAD_BODY
            return ACCEPTED
        channel.refused[to] = reason, channel.sent
        if reason == FULL:
            self._short_of_room.add((channel, to))
        return reason

    def _tell_room(self):
        if self._short_of_room and len(self._inbox) <= INBOX_MAX // 2:
            for channel, address in self._short_of_room:
                if not channel.ended:
                    channel.send(ROOM, text(address, 2))
            self._short_of_room.clear()

    def _called(self, channel, call, _left, protocol, question):
        """A new owner takes an address over. What has come for it stays in the inbox: there is nothing to hand over."""
        if protocol != "sessions/1" or question["by"]["identity"] != channel.run.identity:
            return NO_HANDLER
        self._displaced(question)
        channel.send(REPLY, number(call) + b"\0" + pack({"messages": [], "left": 0}))
        return ACCEPTED

    def _hear(self, _protocol, news):
        if news["op"] == "displaced":
            self._displaced(news)
        elif news["op"] == "fenced":
            raise HomingError("FENCED", "a newer process has this identity")

    def _displaced(self, lost):
        if self.addresses.get(lost["address"]) == lost["claim"]:
            del self.addresses[lost["address"]]


def main():
    parser = argparse.ArgumentParser(description="Joins a Homing cluster, connects ADDRESS, and prints what arrives there.")
    parser.add_argument("url", metavar="URL", help="the broker: tcp://host:port")
    parser.add_argument("identity", metavar="IDENTITY", help="name of this process in the cluster")
    parser.add_argument("address", metavar="ADDRESS", help="address of its client")
    parser.add_argument("--send", nargs=2, metavar=("TO", "TEXT"), help="send this, print the status, and leave")
    parser.add_argument("--cluster", default="homing", help="default: homing. A secret is taken from $HOMING_SECRET")
    options = parser.parse_args()
    client = HomingClient(options.url, options.identity, os.environ.get("HOMING_SECRET", "").encode(), options.cluster)
    try:
        client.join()
        client.connect(options.address)
        if options.send:
            print(client.send(*options.send, sender=options.address))
            client.close()
        while not options.send:
            message = client.receive()
            print(f"{message.sender}: {message.body}", flush=True)
    except (HomingError, OSError) as error:
        raise SystemExit(f"homing_client: {error}") from None


if __name__ == "__main__":
    main()
