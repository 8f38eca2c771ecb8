"""Streams of the gateway: who waits for whom, and for how long."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from actors.gateway import streaming
from actors.gateway.stream_bytes import WINDOW, received, send
from actors.gateway.streaming import Stream, Streams, packed, unpacked
from transport.errors import RemoteError
from transport.grpc.interface import message


def data(content: bytes) -> Any:
    return packed(message("containerd.types.transfer.Data")(data=content))


def update(count: int) -> Any:
    return packed(message("containerd.types.transfer.WindowUpdate")(update=count))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(streaming, "TURN", 0.01)
    monkeypatch.setattr(streaming, "UNCLAIMED", 0.05)


def silent() -> Iterator[Any]:
    threading.Event().wait(0.5)
    yield from ()


def test_a_stream_that_no_transfer_claims_ends():
    assert list(Stream(silent()).outgoing()) == []


def test_a_stream_that_is_claimed_ends_with_its_transfer():
    streams = Streams()
    with streams.opened("n", "s", iter(())) as stream:
        with streams.claimed("n", "s") as claimed:
            claimed.send(message("google.protobuf.Empty")())
        assert [one.type_url for one in stream.outgoing()] == ["google.protobuf.Empty"]  # sent before its end
    with pytest.raises(RemoteError, match="is not open"), streams.claimed("n", "s"):
        pass


def test_a_namespace_has_streams_of_its_own():
    streams = Streams()
    with (
        streams.opened("n", "s", iter(())),
        pytest.raises(RemoteError, match="is not open"),
        streams.claimed("m", "s"),
    ):
        pass


def test_a_client_that_owes_an_answer_is_not_waited_for_without_end():
    stream = Stream(silent())
    stream.claim()
    with stream.awaited(0.05):
        assert list(stream.outgoing()) == []
    with pytest.raises(RemoteError, match="has gone"):
        stream.send(message("google.protobuf.Empty")())


def test_a_client_that_does_not_read_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(streaming, "PATIENCE", 0.05)
    stream, nothing = Stream(silent()), message("google.protobuf.Empty")()
    for _ in range(streaming.MOST_WAITING):
        stream.send(nothing)
    stream.offer(nothing)  # is lost
    with pytest.raises(RemoteError, match="does not read"):
        stream.send(nothing)


def test_room_is_given_as_bytes_are_taken():
    stream = Stream(iter([data(b"x" * WINDOW), data(b"y")]))
    assert [len(piece) for piece in received(stream)] == [WINDOW, 1]
    stream.close()
    assert [unpacked(one).update for one in stream.outgoing()] == [WINDOW] * 3  # the last one for a rest


def test_no_more_is_sent_than_there_is_room_for():
    stream, content = Stream(iter([update(3), update(-5), update(2)])), b"abcdefg"
    at = 0

    def read(most: int) -> bytes:
        nonlocal at
        piece, at = content[at : at + most], min(len(content), at + most)
        return piece

    with pytest.raises(RemoteError, match="has gone"):  # after five bytes
        send(stream, read)
    stream.close()
    assert b"".join(unpacked(one).data for one in stream.outgoing()) == b"abcde"


def test_what_a_transfer_does_not_know_is_refused():
    strange = message("google.protobuf.Any")(type_url="containerd.types.Mount")
    with pytest.raises(RemoteError, match="not known"):
        unpacked(strange)
    with pytest.raises(RemoteError, match=r"is not a containerd\.types\.transfer\.Data"):
        list(received(Stream(iter([update(1)]))))
