"""A client of a Homing cluster behind a broker, written from docs/protocol.md. Needs Python 3.8 and msgpack."""
import argparse, asyncio, hashlib, hmac, secrets, socket, struct  # noqa: E401
from collections import namedtuple
from urllib.parse import urlsplit
import msgpack

HELLO, WELCOME, PROOF, READY, REJECT, PING, PONG, CLOSE, ROUTE, UNROUTE, RESUME, ACK, LEAVE = *range(1, 6), 8, 9, 10, 16, 17, 32, 33, 34
MESSAGE, REQUEST, REPLY, CANCEL, REFUSE, ROOM, TELL, CALL, VOID = range(48, 57)
ACCEPTED, NOT_HERE, FULL, BAD_BODY, NO_HANDLER, NOT_ALLOWED, MOVING, UNSURE, LOST = range(9)  # LOST: no answer came
STATUS = ["delivered", "absent", "overloaded", "refused", "refused", "refused", "absent", "unreachable", "unknown"]
FRAME_MAX, INBOX_MAX = (1 << 20) + 4096, 256
Message = namedtuple("Message", "sender to body id")
Run = namedtuple("Run", "identity incarnation")

class HomingError(Exception):
    def __init__(self, code, words):
        super().__init__(f"{code}: {words}")
        self.code = code

def pack(value):
    return msgpack.packb(value, datetime=True)

def unpack(data):
    big = lambda code, raw: int.from_bytes(raw, "big", signed=True) if code == 0x42 else msgpack.ExtType(code, raw)
    return msgpack.unpackb(data, timestamp=3, ext_hook=big, unicode_errors="replace")

def text(value, size):
    return len(value.encode()).to_bytes(size, "big") + value.encode()

class Reader:
    """Takes the fields of a frame one after the other."""
    def __init__(self, frame):
        self.rest = frame

    def bytes(self, size):
        if size > len(self.rest):
            raise HomingError("BAD_FRAME", "a frame ends within a field")
        field, self.rest = self.rest[:size], self.rest[size:]
        return field

    def numbers(self, *sizes):
        return [int.from_bytes(self.bytes(size), "big") for size in sizes]

    def text(self):
        return self.bytes(*self.numbers(1)).decode(errors="replace")

    def address(self, known):
        (head,) = self.numbers(2)
        number = head & 0x7FFF if head & 0x8000 else self.numbers(2)[0] if head & 0x4000 else None
        if not head & 0x8000:
            known[number] = self.bytes(head & 0x3FFF).decode(errors="replace")
        elif number not in known:
            raise HomingError("BAD_FRAME", f"number {number} stands for nothing")
        return known[number]

class Channel:
    """The acknowledged stream of frames to and from one run. It outlives its ways through the broker, not the link."""
    def __init__(self, run, write):
        self.run, self.write, self.id, self.remote_id = run, write, 1 + secrets.randbelow(2**32 - 1), 0
        self.next = self.written = self.settled = self.expected = 0  # sequences: settled and expected count what is done
        self.label = self.in_label = self.pair = None
        self.resumed, self.unanswered, self.known, self.refused = False, {}, {}, {}

    def frame(self, kind, *numbers, payload=b""):
        self.write(kind, self.label.to_bytes(3, "big") + struct.pack(f">{len(numbers)}I", *numbers) + payload)

    def attach(self, label, pair, in_label):
        self.label, self.pair, self.in_label, self.resumed = label, pair, in_label, False
        self.frame(RESUME, self.id, self.remote_id, self.expected)

    def resume(self, theirs, mine, expected):
        """False: the other end has forgotten this channel."""
        if self.remote_id not in (0, theirs) or not self.settled <= expected <= self.next:
            return False
        if mine in (0, self.id):
            self.remote_id, self.written, self.resumed = theirs, expected, True
            self.flush()
            self.acknowledge()
        return True

    def send(self, kind, payload):
        """The sequence of the frame, and a future of what becomes of it."""
        self.unanswered[self.next] = kind, payload, asyncio.get_running_loop().create_future()
        self.next += 1
        self.flush()
        return self.next - 1, self.unanswered[self.next - 1][2]
