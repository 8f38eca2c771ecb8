"""One connection of HTTP/2 (RFC 9113) as a server of gRPC has it: bytes in and out, no socket and no thread.

Sections in comments are of that document. What a client may have us keep is bounded: streams, headers, and
of each stream a message and a window. What we have for a client waits for its windows.
"""

import struct
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from transport.errors import ProtocolError
from transport.grpc.hpack import Decoder, encoded

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITIZED = 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL, FLOW_CONTROL, STREAM_CLOSED, FRAME_SIZE, REFUSED, CALM = 0, 1, 3, 5, 6, 7, 11  # section 7
MOST_STREAMS: Final = 1024  # calls of one connection at once
MOST_MESSAGE: Final = 16 << 20  # bytes, as containerd has it
MOST_BLOCK: Final = 1 << 16  # bytes of compressed headers
FRAME: Final = 1 << 14  # bytes in a frame of a client's
LARGEST_FRAME: Final = 1 << 16  # bytes in a frame of ours, if the client takes that
DEFAULT_WINDOW: Final = 65535
LARGEST_WINDOW: Final = (1 << 31) - 1
WINDOW: Final = 1 << 20  # bytes that a client may send ahead in one stream,
CONNECTION_WINDOW: Final = 8 << 20  # and in all
RETURNED: Final = 1 << 16  # bytes of a window that are given back at once
_SETTINGS: Final = struct.pack(">HIHIHI", 3, MOST_STREAMS, 4, WINDOW, 6, 1 << 14)
_ANSWER: Final = b"\x88" + encoded([(b"content-type", b"application/grpc")])  # :status is 200
_DONE: Final = encoded([(b"grpc-status", b"0")])


class Http2Error(ProtocolError):
    """The connection cannot go on; `code` is what the client is told (section 7)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Stream:
    """One call.

    Attributes:
        headers: the client's; the last one of a name.
        messages: what has come and nobody has taken, each without its prefix.
        refusal: status and text with which it has to end, as what has come cannot be taken.
        ended: whether the client sends no more.
        over: whether nothing can be sent any more: all has been, or the client has gone.
        waiting: bytes that wait for the client's windows.
    """

    __slots__ = ("ended", "headers", "messages", "number", "over", "owed", "partial", "refusal", "room",
                 "started", "trailers", "waiting", "window")  # fmt: skip

    def __init__(self, number: int, headers: Mapping[str, str], room: int) -> None:
        self.number, self.headers = number, headers
        self.messages: deque[bytes] = deque()
        self.refusal: tuple[int, str] | None = None
        self.ended = self.over = self.started = False
        self.partial, self.owed, self.window = bytearray(), 0, WINDOW
        self.waiting, self.room = bytearray(), room
        self.trailers: bytes | None = None

    def feed(self, data: bytes) -> None:
        """Take in a piece of the messages, each of which has a prefix: a flag, and its length."""
        self.partial += data
        while len(self.partial) >= 5 and self.refusal is None:
            flag, length = struct.unpack_from(">BI", self.partial)
            if flag:
                self.refusal = 12, "compressed messages are not taken: send them as they are"
            elif length > MOST_MESSAGE:
                self.refusal = 8, f"a message of {length} bytes is larger than {MOST_MESSAGE}"
            elif len(self.partial) < 5 + length:
                return
            else:
                self.messages.append(bytes(self.partial[5 : 5 + length]))
                del self.partial[: 5 + length]


class Connection:
    """The state of both directions.

    Attributes:
        greeted: whether the client has said that it speaks HTTP/2.
        outgoing: what is to be sent; who sends takes it away from the front.
        streams: those that are not over, by number.
    """

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self.outgoing = bytearray()
        self._incoming = bytearray()
        self.greeted = False
        self._decoder = Decoder()
        self._last = 0  # the highest number of a stream so far
        self._block: tuple[int, int, bytearray] | None = None  # headers of which more is to come
        self._window, self._owed = CONNECTION_WINDOW, 0
        self._room, self._first_room, self._frame = DEFAULT_WINDOW, DEFAULT_WINDOW, FRAME
        self._changed: dict[int, Stream] = {}
        self._send(SETTINGS, 0, 0, _SETTINGS)
        self._grant(0, CONNECTION_WINDOW - DEFAULT_WINDOW)

    # What comes

    def receive(self, data: bytes) -> list[Stream]:
        """Take in what has come; the streams that are new, or to which it has happened. Raises Http2Error."""
        self._incoming += data
        if not self.greeted and not self._greet():
            return []
        at, end = 0, len(self._incoming)
        while end - at >= 9:
            length = int.from_bytes(self._incoming[at : at + 3], "big")
            if length > FRAME:
                raise Http2Error(FRAME_SIZE, f"a frame of {length} bytes")
            if end - at < 9 + length:
                break
            kind, flags, number = struct.unpack_from(">BBI", self._incoming, at + 3)
            self._take(kind, flags, number & LARGEST_WINDOW, bytes(self._incoming[at + 9 : at + 9 + length]))
            at += 9 + length
        del self._incoming[:at]
        changed, self._changed = self._changed, {}
        return list(changed.values())

    def _greet(self) -> bool:
        start = bytes(self._incoming[: len(PREFACE)])
        if not PREFACE.startswith(start):
            raise Http2Error(PROTOCOL, "not HTTP/2")
        self.greeted = start == PREFACE
        if self.greeted:
            del self._incoming[: len(PREFACE)]
        return self.greeted

    def _take(self, kind: int, flags: int, number: int, body: bytes) -> None:
        if self._block is not None and (kind != CONTINUATION or number != self._block[0]):
            raise Http2Error(PROTOCOL, "headers are not continued")
        take = _TAKE.get(kind)
        if take is not None:
            take(self, flags, number, body)

    def _take_headers(self, flags: int, number: int, body: bytes) -> None:
        body = _unpadded(flags, body)
        if flags & PRIORITIZED:
            body = body[5:]
        self._block = number, flags, bytearray()
        self._take_continuation(flags, number, body)

    def _take_continuation(self, flags: int, _: int, body: bytes) -> None:
        if self._block is None:
            raise Http2Error(PROTOCOL, "nothing is to be continued")
        number, first, block = self._block
        block += body
        if len(block) > MOST_BLOCK:
            raise Http2Error(CALM, "too many headers")
        if flags & END_HEADERS:
            self._block = None
            self._opened(number, self._decoded(bytes(block)), ended=bool(first & END_STREAM))

    def _decoded(self, block: bytes) -> dict[str, str]:
        try:
            return dict(self._decoder.decode(block))
        except ProtocolError as error:
            raise Http2Error(9, str(error)) from error

    def _opened(self, number: int, headers: Mapping[str, str], *, ended: bool) -> None:
        known = self.streams.get(number)
        if known is not None:  # its trailers
            known.ended = True
            self._changed[number] = known
        elif number > self._last:
            if not number % 2:
                raise Http2Error(PROTOCOL, "a client's streams have odd numbers")
            self._last = number
            if len(self.streams) >= MOST_STREAMS:
                self._send(RST_STREAM, 0, number, struct.pack(">I", REFUSED))
                return
            stream = self.streams[number] = self._changed[number] = Stream(number, headers, self._first_room)
            stream.ended = ended

    def _take_data(self, flags: int, number: int, body: bytes) -> None:
        self._window -= len(body)
        self._owed += len(body)
        if self._window < 0:
            raise Http2Error(FLOW_CONTROL, "more was sent than the window lets through")
        if self._owed >= CONNECTION_WINDOW // 2:
            self._window += self._owed
            self._grant(0, self._owed)
            self._owed = 0
        stream = self.streams.get(number)
        if stream is not None and not stream.ended:
            self._feed(stream, flags, body)
        elif not 0 < number <= self._last or stream is not None:
            raise Http2Error(STREAM_CLOSED, "data of a stream that is not open")

    def _feed(self, stream: Stream, flags: int, body: bytes) -> None:
        stream.window -= len(body)
        stream.owed += len(body)
        if stream.window < 0:
            raise Http2Error(FLOW_CONTROL, "more was sent than the window lets through")
        stream.feed(_unpadded(flags, body))
        stream.ended = bool(flags & END_STREAM)
        self._return(stream)
        self._changed[stream.number] = stream

    def _return(self, stream: Stream) -> None:
        """Let the client send more, once what it has sent has been taken, or is only a part of a message."""
        if stream.owed >= RETURNED and not (stream.messages or stream.ended or stream.refusal):
            self._grant(stream.number, stream.owed)
            stream.window += stream.owed
            stream.owed = 0

    def taken(self, stream: Stream) -> bytes:
        """The oldest message of a stream that has one."""
        found = stream.messages.popleft()
        self._return(stream)
        return found

    def _take_reset(self, _: int, number: int, body: bytes) -> None:
        _check(len(body) == 4 and 0 < number <= self._last, "a reset")
        stream = self.streams.pop(number, None)
        if stream is not None:
            stream.over = stream.ended = True
            stream.waiting.clear()
            self._changed[number] = stream

    def _take_settings(self, flags: int, number: int, body: bytes) -> None:
        _check(number == 0 and len(body) % 6 == 0, "settings")
        if flags & ACK:
            return
        for key, value in struct.iter_unpack(">HI", body):
            if key == 4:
                self._set_first_room(value)
            elif key == 5:
                _check(FRAME <= value < 1 << 24, "settings")
                self._frame = min(value, LARGEST_FRAME)
        self._send(SETTINGS, ACK, 0, b"")

    def _set_first_room(self, value: int) -> None:
        """Of streams to come, and by as much of those that there are (section 6.9.2)."""
        _check(value <= LARGEST_WINDOW, "a window", FLOW_CONTROL)
        more, self._first_room = value - self._first_room, value
        for stream in list(self.streams.values()):
            self._widen(stream, more)

    def _take_ping(self, flags: int, number: int, body: bytes) -> None:
        _check(number == 0 and len(body) == 8, "a ping")
        if not flags & ACK:
            self._send(PING, ACK, 0, body)

    def _take_update(self, _: int, number: int, body: bytes) -> None:
        _check(len(body) == 4, "a window")
        more = int.from_bytes(body, "big") & LARGEST_WINDOW
        _check(more > 0 and number <= self._last, "a window")
        if number == 0:
            self._room += more
            _check(self._room <= LARGEST_WINDOW, "a window", FLOW_CONTROL)
            for stream in [one for one in self.streams.values() if one.waiting]:
                self._move(stream)
        elif number in self.streams:
            self._widen(self.streams[number], more)

    def _widen(self, stream: Stream, more: int) -> None:
        stream.room += more
        _check(stream.room <= LARGEST_WINDOW, "a window", FLOW_CONTROL)
        self._move(stream)

    # What leaves

    def answer(self, stream: Stream, message: bytes) -> None:
        """Send one message, as the windows let it."""
        if stream.over:
            return
        self._start(stream)
        stream.waiting += struct.pack(">BI", 0, len(message)) + message
        self._move(stream)

    def end(self, stream: Stream, status: int = 0, text: str = "") -> None:
        """End a call, after what waits."""
        if stream.over or stream.trailers is not None:
            return
        stream.trailers = _DONE if status == 0 else _said(status, text)
        if not stream.started:
            stream.started = True
            stream.trailers = _ANSWER + stream.trailers
        self._move(stream)

    def refuse(self, stream: Stream, status: int) -> None:
        """Answer what is no call of gRPC with a status of HTTP."""
        stream.started, stream.trailers = True, encoded([(b":status", b"%d" % status)])
        self._move(stream)

    def give_up(self, code: int) -> None:
        """Take no more streams (section 6.8)."""
        self._send(GOAWAY, 0, 0, struct.pack(">II", self._last, code))

    def _start(self, stream: Stream) -> None:
        if not stream.started:
            stream.started = True
            self._send(HEADERS, END_HEADERS, stream.number, _ANSWER)

    def _move(self, stream: Stream) -> None:
        waiting = stream.waiting
        while waiting and (room := min(self._room, stream.room, self._frame)) > 0:
            piece = bytes(waiting[:room])
            del waiting[: len(piece)]
            self._room -= len(piece)
            stream.room -= len(piece)
            self._send(DATA, 0, stream.number, piece)
        if stream.trailers is not None and not waiting:
            self._send(HEADERS, END_HEADERS | END_STREAM, stream.number, stream.trailers)
            if not stream.ended:  # what it still sends is of no use to anybody (section 8.1)
                self._send(RST_STREAM, 0, stream.number, struct.pack(">I", NO_ERROR))
            stream.over = True
            del self.streams[stream.number]

    def _grant(self, number: int, more: int) -> None:
        self._send(WINDOW_UPDATE, 0, number, struct.pack(">I", more))

    def _send(self, kind: int, flags: int, number: int, body: bytes) -> None:
        self.outgoing += struct.pack(">IBI", len(body) << 8 | kind, flags, number) + body


_TAKE: Final[Mapping[int, Callable[[Connection, int, int, bytes], None]]] = {
    DATA: Connection._take_data,  # noqa: SLF001  # the table belongs to the class
    HEADERS: Connection._take_headers,  # noqa: SLF001
    RST_STREAM: Connection._take_reset,  # noqa: SLF001
    SETTINGS: Connection._take_settings,  # noqa: SLF001
    PING: Connection._take_ping,  # noqa: SLF001
    WINDOW_UPDATE: Connection._take_update,  # noqa: SLF001
    CONTINUATION: Connection._take_continuation,  # noqa: SLF001
}
"""Kinds of frames that mean something to us; a client pushes nothing, and the others are for hints."""


def _check(right: bool, what: str, code: int = PROTOCOL) -> None:
    if not right:
        raise Http2Error(code, f"{what} that cannot be")


def _unpadded(flags: int, body: bytes) -> bytes:
    if not flags & PADDED:
        return body
    _check(bool(body) and body[0] < len(body), "padding")
    return body[1 : len(body) - body[0]]


def _said(status: int, text: str) -> bytes:
    """Trailers of a call that has failed; the text is bounded, and written as gRPC wants it."""
    written = b"".join(
        bytes([byte]) if 0x20 <= byte < 0x7F and byte != 0x25 else b"%%%02X" % byte
        for byte in text.encode(errors="replace")[:3072]
    )
    return encoded([(b"grpc-status", b"%d" % status), (b"grpc-message", written)])
