#!/usr/bin/env python3
"""A client of a Homing cluster that joins through a broker, written from docs/protocol.md. Needs Python 3.8 and msgpack.

Frames are handled while a method waits: call one every second or so, for who is silent for 5 s is taken for dead.
"""
import hmac, os, socket, sys
from hashlib import sha256
from io import BytesIO
from multiprocessing.connection import Connection  # frames a stream as Homing does: a length of four bytes, then the rest
from struct import pack, unpack
from time import monotonic
from types import SimpleNamespace

from msgpack import packb, unpackb

HELLO, PROOF, PING, PONG, ROUTE, UNROUTE, RESUME, ACK, LEAVE = (bytes([kind]) for kind in (1, 3, 8, 9, 16, 17, 32, 33, 34))
MESSAGE, REQUEST, REPLY, CANCEL, REFUSE, ROOM, TELL, CALL, VOID = (bytes([kind]) for kind in range(48, 57))
ACCEPTED, NOT_HERE, FULL, BAD_BODY, NO_HANDLER, NOT_ALLOWED, MOVING, UNSURE, OVERTAKEN = range(9)
STATUS = "delivered", "absent", "overloaded", "refused", "refused", "refused", "absent", "unreachable", "refused"


def text(value, size=1):
    return len(value.encode()).to_bytes(size, "big") + value.encode()


class HomingClient:  # raises TimeoutError, RuntimeError when the broker says no, EOFError or an OSError when the link is lost
    def __init__(self, url, identity, secret=b"", cluster="homing"):
        self._me = {"identity": identity, "incarnation": os.urandom(8).hex(), "role": "peer", "machine": socket.gethostname()}
        self._run, self._ids = text(identity) + text(self._me["incarnation"]), iter(range(1, 2**32))
        self._labels, self._claims, self._replies, self._ways, self._inbox = iter(range(2**24)), {}, {}, {}, []
        link = socket.create_connection(url.split("/")[-1].rsplit(":", 1))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, pack("ll", 5, 0))  # for the handshake, and within a frame
        self._link = Connection(link.detach())
        hello = packb({**self._me, "versions": [1, 1], "cluster": cluster, "capabilities": [], "nonce": os.urandom(32)})
        self._link.send_bytes(HELLO + hello)
        welcome = self._link.recv_bytes(4096)[1:]
        said = pack(">II", 0, len(hello)) + hello + pack(">I", len(welcome)) + welcome
        transcript, proves = sha256(b"homing handshake 1\n" + said).digest(), secret or unpackb(welcome).get("secret")
        mine, theirs = (hmac.digest(secret, who + transcript, "sha256") if proves else b"" for who in (b"dialler", b"listener"))
        self._link.send_bytes(PROOF + packb({"proof": mine}))
        ready = unpackb(self._link.recv_bytes(4096)[1:])
        if not hmac.compare_digest(ready.get("proof", b"none"), theirs): raise ConnectionRefusedError(ready)
        self._broker = self._open(b"", os.urandom(4), bytes(3))
        self._ask(op="join", member={**self._me, "state": "up", "version": "python", "endpoints": [], "metadata": {}})

    def connect(self, address):
        """Takes the address, whoever held it."""
        claim = self._claims[address] = next(self._ids)
        former = self._ask(op="claim", claims=[{"address": address, "claim": claim}], ms=9000)["previous"][0]
        if former: self._ask(op="note", to=former, address=address, by={**self._me, "claim": claim})

    def send(self, to, body, sender="", timeout=10):
        """Sends to whoever holds the address. Returns a word of STATUS. After a TimeoutError it may have arrived."""
        if not (located := self._ask(op="find", addresses=[to])["located"][0]): return STATUS[NOT_HERE]
        run = text(located["owner"]["identity"]) + text(located["owner"]["incarnation"])
        if run not in self._ways: self._open(run, os.urandom(4))
        self._wait(lambda: (way := self._ways.get(run)) and way.ready and way.acked == way.sent, timeout)
        channel, head = self._ways[run], text(to, 2) + text(sender, 2) + pack(">HI", 0, next(self._ids))
        sequence = self._send(channel, MESSAGE, head + packb(body, datetime=True))
        self._wait(lambda: channel.acked > sequence, timeout)
        return STATUS[channel.refused.pop(sequence, ACCEPTED)]

    def receive(self, timeout=10):
        """Returns the next (sender, to, body)."""
        self._wait(lambda: self._inbox, timeout)
        return self._inbox.pop(0)

    def close(self):
        """Leaves the cluster: what was connected here reads as absent at once."""
        with self._link: self._ask(op="leave")

    def _ask(self, **question):  # the broker, in directory/1
        self._wait(lambda: self._broker.ready)
        call = self._send(self._broker, CALL, pack(">II", self._broker.sent, 20_000) + text("directory/1") + packb(question))
        self._wait(lambda: call in self._replies, 20)
        failed, answer = self._replies.pop(call)
        if failed: raise RuntimeError(answer)
        return answer

    def _open(self, run, pair, in_label=None):  # a way to a run, or our half of its way, and a channel of its own
        channel = SimpleNamespace(label=pack(">I", next(self._labels))[1:], pair=pair, in_label=in_label, ready=False, sent=0)
        channel.taken, channel.acked, channel.refused, channel.closed, channel.known, self._ways[run] = 0, 0, {}, {}, {}, channel
        if run: self._link.send_bytes(ROUTE + channel.label + pair + self._run + run)
        self._link.send_bytes(RESUME + channel.label + pair + bytes(8))
        return channel

    def _send(self, channel, kind, payload):  # a numbered frame: returns its sequence
        self._link.send_bytes(kind + channel.label + pack(">I", channel.sent) + payload)
        channel.sent += 1
        return channel.sent - 1

    def _wait(self, done, timeout=10):  # handles what comes, until it is done
        until = monotonic() + timeout
        while self._link.poll(0 if done() else max(0, min(5, until - monotonic()))):
            frame = self._link.recv_bytes((1 << 20) + 4096)
            self._handle(frame[:1], frame[1:4], frame[4:])
        if not done(): raise TimeoutError("no answer came in time, or no ping for 5 s")

    def _handle(self, kind, label, data):
        channel = next((each for each in self._ways.values() if each.in_label == label), None)
        if kind == PING: self._link.send_bytes(PONG + label + data)
        elif kind == ROUTE:
            run, pair = data[4 : -len(self._run)], data[:4]
            opened = self._ways.get(run)
            if opened and opened.pair == pair: opened.in_label = label
            elif not opened or opened.in_label or self._run[1:] > run[1:]: self._open(run, pair, label)  # else ours stands
        elif kind == UNROUTE:
            self._ways = {run: c for run, c in self._ways.items() if label != (c.in_label if data[0] else c.label)}
        elif channel and kind == RESUME: channel.ready |= data[4:8] in (bytes(4), channel.pair)
        elif channel and kind == LEAVE: self._link.send_bytes(LEAVE + channel.label)
        elif channel and kind == ACK:
            channel.acked = unpack(">I", data[:4])[0] + 1
            channel.closed = {to: at for to, at in channel.closed.items() if at >= channel.acked}
        elif channel and data[:4] == pack(">I", channel.taken): self._take(channel, kind, data)  # else it came twice

    def _take(self, channel, kind, data):  # a numbered frame
        frame, reason = BytesIO(data[4:]), NO_HANDLER if kind in (REQUEST, CALL) else ACCEPTED
        channel.taken += 1
        if kind in (MESSAGE, REQUEST, VOID):
            to, sender, _ = self._address(channel, frame), self._address(channel, frame), frame.read(6)
            if kind != VOID and (to in channel.closed or to not in self._claims):
                reason, channel.closed[to] = NOT_HERE, channel.sent  # until its sender knows: nothing overtakes what was refused
            elif kind == MESSAGE:
                try: self._inbox.append((sender, to, unpackb(frame.read(), timestamp=3, unicode_errors="replace")))
                except (ValueError, OverflowError): reason = BAD_BODY
        elif kind == REFUSE: channel.refused[unpack(">I", data[4:8])[0]] = data[8]
        elif kind == REPLY and channel is self._broker: self._replies[unpack(">I", data[4:8])[0]] = data[8], unpackb(data[9:])
        elif kind == TELL and channel is self._broker:
            news = unpackb(data[16:])
            if news["op"] == "fenced": raise RuntimeError(news)
            if self._claims.get(news.get("address"), 0) == news.get("claim"): del self._claims[news["address"]]
        if reason: self._send(channel, REFUSE, data[:4] + bytes([reason]))
        self._link.send_bytes(ACK + channel.label + data[:4])

    def _address(self, channel, frame):
        (head,) = unpack(">H", frame.read(2))
        if head & 0x8000: return channel.known[head & 0x7FFF]
        (number,) = unpack(">H", frame.read(2)) if head & 0x4000 else (None,)
        channel.known[number] = frame.read(head & 0x3FFF).decode()
        return channel.known[number]


if __name__ == "__main__":
    url, identity, address, *letter = sys.argv[1:]  # URL IDENTITY ADDRESS [--send TO TEXT]
    client = HomingClient(url, identity, os.environ.get("HOMING_SECRET", "").encode())
    client.connect(address)
    if letter: print(client.send(*letter[1:], sender=address))
    while not letter: print("{0}: {2}".format(*client.receive(float("inf"))), flush=True)
    client.close()
