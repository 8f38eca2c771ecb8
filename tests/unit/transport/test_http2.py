"""One connection, byte for byte, without a socket."""

import struct

import pytest

from transport.grpc import http2
from transport.grpc.hpack import Decoder, encoded
from transport.grpc.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Connection,
    Http2Error,
)

BLOCK = encoded([(b":path", b"/s/M"), (b"content-type", b"application/grpc")])
HELLO = PREFACE + struct.pack(">IBI", SETTINGS, 0, 0)


def frame(kind: int, flags: int, number: int, body: bytes = b"") -> bytes:
    return struct.pack(">IBI", len(body) << 8 | kind, flags, number) + body


def message(content: bytes) -> bytes:
    return struct.pack(">BI", 0, len(content)) + content


def settings(**given: int) -> bytes:
    keys = {"window": 4, "frame": 5}
    body = b"".join(struct.pack(">HI", keys[name], value) for name, value in given.items())
    return frame(SETTINGS, 0, 0, body)


def call(number: int, content: bytes = b"x") -> bytes:
    asked = frame(HEADERS, END_HEADERS, number, BLOCK)
    return asked + frame(DATA, END_STREAM, number, message(content))


def sent(connection: Connection) -> list[tuple[int, int, int, bytes]]:
    """What leaves, frame by frame; it is taken."""
    data, found = bytes(connection.outgoing), []
    connection.outgoing.clear()
    while data:
        length = int.from_bytes(data[:3], "big")
        kind, flags, number = struct.unpack_from(">BBI", data, 3)
        found.append((kind, flags, number, data[9 : 9 + length]))
        data = data[9 + length :]
    return found


@pytest.fixture
def connection() -> Connection:
    found = Connection()
    found.receive(HELLO)
    sent(found)
    return found


def refused(connection: Connection, data: bytes) -> int:
    with pytest.raises(Http2Error) as raised:
        connection.receive(data)
    return raised.value.code


def test_we_say_our_settings_before_the_client_has_said_a_word():
    assert [kind for kind, *_ in sent(Connection())] == [SETTINGS, WINDOW_UPDATE]


def test_a_call_can_come_byte_by_byte():
    connection, seen = Connection(), {}
    for byte in HELLO + call(1, b"hello"):
        seen |= {stream.number: stream for stream in connection.receive(bytes([byte]))}
    [stream] = seen.values()
    assert stream.headers == {":path": "/s/M", "content-type": "application/grpc"}
    assert (list(stream.messages), stream.ended) == ([b"hello"], True)


def test_an_answer_is_headers_data_and_trailers(connection):
    [stream] = connection.receive(call(1))
    connection.answer(stream, b"yes")
    connection.end(stream)
    head, data, trailers = sent(connection)
    assert head[:3] == (HEADERS, END_HEADERS, 1)
    assert Decoder().decode(head[3]) == [(":status", "200"), ("content-type", "application/grpc")]
    assert data == (DATA, 0, 1, message(b"yes"))
    assert trailers[:3] == (HEADERS, END_HEADERS | END_STREAM, 1)
    assert Decoder().decode(trailers[3]) == [("grpc-status", "0")]
    assert (stream.over, connection.streams) == (True, {})


def test_an_error_says_its_text_as_grpc_writes_it_and_not_too_much_of_it(connection):
    first, second = connection.receive(call(1) + call(3))
    connection.end(first, 5, 'no "x": 100 % ü\n')
    connection.end(second, 2, "ü" * 100_000)
    one, other = sent(connection)
    assert dict(Decoder().decode(one[3]))["grpc-message"] == 'no "x": 100 %25 %C3%BC%0A'
    assert len(other[3]) < 16384


def test_who_is_answered_before_he_has_sent_all_is_told_to_stop(connection):
    [stream] = connection.receive(frame(HEADERS, END_HEADERS, 1, BLOCK))
    connection.end(stream, 12, "no")
    assert [kind for kind, *_ in sent(connection)] == [HEADERS, RST_STREAM]
    assert connection.receive(frame(DATA, 0, 1, message(b"late"))) == []


def test_what_is_sent_waits_for_both_windows(connection):
    connection.receive(settings(window=10, frame=16384))
    [stream] = connection.receive(call(1))
    connection.answer(stream, b"a" * 70_000)
    connection.end(stream)

    def data() -> bytes:
        return b"".join(body for kind, _, _, body in sent(connection) if kind == DATA)

    assert data() == message(b"a" * 70_000)[:10]
    connection.receive(settings(window=0))  # takes back what it has not got: less than nothing is left
    connection.receive(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 20)))
    assert len(data()) == 10
    connection.receive(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 1_000_000)))
    assert len(data()) == 65535 - 20
    assert not stream.over
    connection.receive(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1_000_000)))
    *rest, end = sent(connection)
    assert sum(len(body) for _, _, _, body in rest) == 70_005 - 65535
    assert (end[0], stream.over) == (HEADERS, True)


def test_a_large_message_is_let_in_and_those_that_nobody_takes_are_not(connection):
    size = 3 * http2.WINDOW
    [stream] = connection.receive(frame(HEADERS, END_HEADERS, 1, BLOCK))
    data, room = message(b"m" * size), http2.WINDOW
    while data:
        piece, data = data[: min(room, 16384)], data[min(room, 16384) :]
        connection.receive(frame(DATA, 0, 1, piece))
        room += sum(
            int.from_bytes(body, "big") for kind, _, number, body in sent(connection)
            if kind == WINDOW_UPDATE and number == 1
        ) - len(piece)  # fmt: skip
    assert len(stream.messages[0]) == size
    for _ in range(room // 16384):
        connection.receive(frame(DATA, 0, 1, message(b"n" * (16384 - 5))))
    assert all(number != 1 for _, _, number, _ in sent(connection))
    assert refused(connection, frame(DATA, 0, 1, b"n" * 16384)) == http2.FLOW_CONTROL


def test_taking_messages_opens_the_window_again(connection):
    [stream] = connection.receive(frame(HEADERS, END_HEADERS, 1, BLOCK))
    for _ in range(6):
        connection.receive(frame(DATA, 0, 1, message(b"n" * 16000)))
    assert sent(connection) == []
    for _ in range(6):
        connection.taken(stream)
    assert [(kind, number) for kind, _, number, _ in sent(connection)] == [(WINDOW_UPDATE, 1)]


@pytest.mark.parametrize(
    ("data", "status"), [(b"\x01\x00\x00\x00\x01x", 12), (struct.pack(">BI", 0, (16 << 20) + 1), 8)]
)
def test_a_message_that_cannot_be_taken_is_a_refusal(connection, data, status):
    [stream] = connection.receive(frame(HEADERS, END_HEADERS, 1, BLOCK) + frame(DATA, 0, 1, data))
    assert stream.refusal[0] == status


def test_padding_priorities_and_pieces_of_headers_are_understood(connection):
    padded = bytes([3]) + b"\0\0\0\0\x10" + BLOCK[:4] + b"\0\0\0"
    data = frame(HEADERS, PADDED | PRIORITIZED, 1, padded) + frame(CONTINUATION, 0, 1, BLOCK[4:9])
    data += frame(CONTINUATION, END_HEADERS, 1, BLOCK[9:]) + frame(PRIORITY, 0, 1, b"\0\0\0\0\x10")
    data += frame(DATA, PADDED | END_STREAM, 1, b"\x02" + message(b"y") + b"\0\0") + frame(99, 0, 0, b"?")
    [stream] = connection.receive(data)
    assert (stream.headers[":path"], list(stream.messages)) == ("/s/M", [b"y"])


def test_a_ping_is_answered_and_a_reset_ends_the_call(connection):
    [stream] = connection.receive(frame(PING, 0, 0, b"12345678") + call(1))
    assert sent(connection) == [(PING, ACK, 0, b"12345678")]
    assert connection.receive(frame(RST_STREAM, 0, 1, b"\0\0\0\x08")) == [stream]
    connection.answer(stream, b"nobody reads it")
    connection.end(stream)
    assert (stream.over, sent(connection)) == (True, [])


def test_only_so_many_calls_are_taken_at_once(connection):
    opened = b"".join(
        frame(HEADERS, END_HEADERS, 2 * number + 1, BLOCK) for number in range(http2.MOST_STREAMS + 1)
    )
    assert len(connection.receive(opened)) == http2.MOST_STREAMS
    assert sent(connection) == [(RST_STREAM, 0, 2 * http2.MOST_STREAMS + 1, struct.pack(">I", http2.REFUSED))]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(HEADERS, END_HEADERS, 2, BLOCK), http2.PROTOCOL),
        (frame(HEADERS, END_HEADERS, 1, b"\x80"), 9),
        (frame(HEADERS, 0, 1, BLOCK) + frame(PING, 0, 0, b"12345678"), http2.PROTOCOL),
        (frame(CONTINUATION, END_HEADERS, 1, BLOCK), http2.PROTOCOL),
        (frame(HEADERS, 0, 1) + 5 * frame(CONTINUATION, 0, 1, b"\0" * 16384), http2.CALM),
        (frame(HEADERS, END_HEADERS | PADDED, 1, b"\x0a" + b"x" * 9), http2.PROTOCOL),
        (frame(DATA, 0, 1, b"x"), http2.STREAM_CLOSED),
        (frame(DATA, 0, 0, b"x"), http2.STREAM_CLOSED),
        (call(1)[:-1] + b"x" + frame(DATA, 0, 1, b"x"), http2.STREAM_CLOSED),
        (frame(RST_STREAM, 0, 1, b"\0\0\0\0"), http2.PROTOCOL),
        (frame(SETTINGS, 0, 0, b"12345"), http2.PROTOCOL),
        (settings(window=1 << 31), http2.FLOW_CONTROL),
        (settings(frame=5), http2.PROTOCOL),
        (frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"), http2.PROTOCOL),
        (frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), http2.FLOW_CONTROL),
        (frame(PING, 0, 0, b"1"), http2.PROTOCOL),
        (b"\x00\x40\x01" + bytes(6), http2.FRAME_SIZE),
    ],
)
def test_what_no_client_sends_ends_the_connection(connection, data, code):
    assert refused(connection, data) == code


def test_what_is_not_http2_is_found_out_at_once():
    assert refused(Connection(), b"GET / HTTP/1.1\r\n") == http2.PROTOCOL
    assert Connection().receive(PREFACE[:5]) == []


def test_what_a_client_pushes_is_passed_over(connection):
    assert connection.receive(frame(PUSH_PROMISE, 0, 1, b"x") + frame(GOAWAY, 0, 0, bytes(8))) == []
    connection.give_up(http2.NO_ERROR)
    assert sent(connection) == [(GOAWAY, 0, 0, bytes(8))]
