"""Descriptors that travel, whole or not at all."""

import fcntl
import os

import pytest

from actors.linux import descriptors, process


@pytest.fixture
def pair():
    ends = descriptors.socket_pair()
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def null():
    descriptor = os.open(os.devnull, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_a_payload_arrives_with_its_descriptors(pair, null):
    reader, writer = os.pipe()
    descriptors.send(pair[0], b"stdout of c1", [writer, null])
    os.close(writer)
    payload, received = descriptors.receive(pair[1], 100)
    assert payload == b"stdout of c1"
    assert len(received) == 2
    assert all(fcntl.fcntl(one, fcntl.F_GETFD) & fcntl.FD_CLOEXEC for one in received)
    os.write(received[0], b"hello")
    descriptors.close_all([*received, received[0]])
    assert os.read(reader, 100) == b"hello"
    assert os.read(reader, 100) == b""
    os.close(reader)


def test_messages_keep_their_borders(pair):
    for text in (b"one", b"two"):
        descriptors.send(pair[0], text)
    assert [descriptors.receive(pair[1], 100) for _ in range(2)] == [(b"one", []), (b"two", [])]


def test_as_many_descriptors_as_the_kernel_takes(pair, null):
    descriptors.send(pair[0], b"all", [null] * descriptors.MOST_DESCRIPTORS)
    _, received = descriptors.receive(pair[1], 10, descriptors.MOST_DESCRIPTORS)
    assert len(received) == descriptors.MOST_DESCRIPTORS
    descriptors.close_all(received)
    with pytest.raises(ValueError, match="at most 253"):
        descriptors.send(pair[0], b"more", [null] * (descriptors.MOST_DESCRIPTORS + 1))


@pytest.mark.parametrize(("payload", "count"), [(b"x" * 11, 0), (b"x", 3), (b"x" * 11, 3)])
def test_what_exceeds_a_limit_is_refused_and_leaks_nothing(pair, null, payload, count):
    before = process.descriptor_count(os.getpid())
    descriptors.send(pair[0], payload, [null] * count)
    with pytest.raises(ValueError, match="more than 10 bytes or 2 descriptors"):
        descriptors.receive(pair[1], 10, 2)
    assert process.descriptor_count(os.getpid()) == before
    descriptors.send(pair[0], b"next")
    assert descriptors.receive(pair[1], 10) == (b"next", [])


def test_an_empty_payload_would_look_like_the_end(pair):
    with pytest.raises(ValueError, match="carries a payload"):
        descriptors.send(pair[0], b"")


def test_a_closed_peer_is_the_end_for_the_reader_and_an_error_for_the_writer(pair):
    pair[0].close()
    with pytest.raises(EOFError):
        descriptors.receive(pair[1], 10)
    with pytest.raises(BrokenPipeError):
        descriptors.send(pair[1], b"x")


def test_the_peer_is_named_by_the_kernel(pair):
    assert descriptors.peer(pair[0]) == descriptors.Peer(os.getpid(), os.getuid(), os.getgid())
