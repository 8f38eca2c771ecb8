"""Where a socket is to be: what is in the way, who listens there already, what a crash has left."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import socket
from pathlib import Path

import pytest

from transport.grpc import server, socket_file


def bound(address: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    found.bind(os.fspath(address))
    return found


def refused(address: Path) -> str:
    with pytest.raises(OSError) as raised:  # noqa: PT011  # what it says is looked at by whoever asks
        socket_file.clear(address)
    return raised.value.strerror or str(raised.value)


def test_what_a_crash_has_left_goes(tmp: Path):
    bound(tmp / "s").close()
    socket_file.clear(tmp / "s")
    assert not (tmp / "s").exists()


@pytest.mark.parametrize("kind", ["directory", "file", "link"])
def test_what_is_not_a_socket_stays(tmp: Path, kind: str):
    place = tmp / "s"
    {"directory": place.mkdir, "file": place.touch, "link": lambda: place.symlink_to("nothing")}[kind]()
    assert refused(place) == "what is there is not a socket"
    assert os.path.lexists(place)


def test_whoever_listens_keeps_it(tmp: Path):
    with bound(tmp / "s") as listener:
        listener.listen(0)
        assert refused(tmp / "s") == f"process {os.getpid()} listens there"
        assert refused(tmp / "s") == "somebody listens there"  # that was the last one it had room for
    assert (tmp / "s").is_socket()


def test_the_child_of_one_that_has_died_does_not_keep_it(tmp: Path):
    """A process that was forked has the socket still, but does not answer."""
    fork = multiprocessing.get_context("fork")
    with bound(tmp / "s") as listener:
        process = fork.Process(target=listener.listen)
        process.start()
        process.join()
        socket_file.clear(tmp / "s")
    assert not (tmp / "s").exists()


@pytest.mark.parametrize(
    ("name", "why"),
    [("x" * 120, "too long"), ("missing/s", os.strerror(errno.ENOENT))],
    ids=["long", "nowhere"],
)
def test_why_it_cannot_be_had(tmp: Path, name: str, why: str):
    socket_file.clear(tmp / name)
    with pytest.raises(OSError, match=why):
        server.serve(tmp / name, [], logging.getLogger("test"), lambda *_: None)
    assert list(tmp.iterdir()) == []
