"""What systemd is told by the zygote, and that it is not waited for."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from actors.zygote import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Its socket, as NOTIFY_SOCKET has it."""
    address = str(tmp / "notify") if request.param == "path" else f"@{tmp}/notify"
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(address.replace("@", "\0"))
        found.setblocking(False)
        yield found


def heard(systemd: socket.socket) -> list[bytes]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(systemd.recv(100))
    return found


def test_it_is_told(systemd: socket.socket):
    for text in ("READY=1", main.ALIVE):
        main._notify(text)
    assert heard(systemd) == [b"READY=1", b"WATCHDOG=1"]


def test_the_zygote_does_not_stand_still_while_systemd_does_not_read(systemd: socket.socket):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, contextlib.suppress(BlockingIOError):
        other.setblocking(False)
        while True:
            other.sendto(b"x", systemd.getsockname())
    telling = threading.Thread(target=main._notify, args=(main.ALIVE,), daemon=True)
    telling.start()
    telling.join(10)
    stands_still = telling.is_alive()
    while telling.is_alive():
        heard(systemd)
        telling.join(0.01)
    assert not stands_still
    assert set(heard(systemd)) <= {b"x"}
