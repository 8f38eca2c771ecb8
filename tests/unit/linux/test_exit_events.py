"""The kernel tells how strangers' processes end, and of nobody else than was asked for."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actors.linux import process
from actors.linux.exit_events import MOST_NAMED, ExitEvents
from actors.linux.pidfd import Process

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(60)]
CHECKOUT = Path(__file__).parents[3]
NOBODY = range(1 << 23, (1 << 23) + 1000)  # beyond any pid that there can be

# Its first thread has ended when it says so; the last one ends, and all of it, when its input does.
THREADED = """
import ctypes, os, sys, threading, time
end = ctypes.CDLL(None).syscall
def other():
    while open("/proc/self/stat").read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    print("alone", flush=True)
    sys.stdin.read()
    os._exit(3)
threading.Thread(target=other).start()
end(60, 5)
"""

ELSEWHERE = """
from actors.linux.exit_events import ExitEvents
try:
    ExitEvents(())
except OSError as error:
    print(error.errno)
"""


@pytest.fixture
def events() -> Iterator[ExitEvents]:
    listening = ExitEvents(())
    yield listening
    listening.end()


def told(events: ExitEvents, *pids: int) -> list[tuple[int, int]]:
    """Of whom it has been told once it is told of one that has ended last."""
    last = sleeper()
    events.only([*pids, last.pid])
    last.kill()
    last.wait()
    found: list[tuple[int, int]] = []
    while (last.pid, signal.SIGKILL) not in found:
        if (event := events.first()) is not None:
            assert events.first() == event, "it stays until it is dropped"
            events.drop_first()
            found.append((event.pid, event.status))
    return found[:-1]


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"])


def test_how_one_ends_that_was_asked_for_and_none_of_the_others(events: ExitEvents):
    one, other = sleeper(), sleeper()
    events.only([one.pid])
    for child in (other, one):
        child.terminate()
        child.wait()
    assert told(events) == [(one.pid, signal.SIGTERM)]


def test_an_exit_code_is_told_as_the_parent_gets_it(events: ExitEvents):
    one = subprocess.Popen(["sh", "-c", "read line; exit 42"], stdin=subprocess.PIPE)
    events.only([one.pid])
    one.communicate(b"\n")
    ((pid, status),) = told(events)
    assert (pid, process.exit_code(status)) == (one.pid, one.returncode) == (one.pid, 42)


def test_what_the_last_thread_tells_is_how_the_process_ends(events: ExitEvents):
    one = subprocess.Popen(
        [sys.executable, "-c", THREADED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    events.only([one.pid])
    assert one.stdout is not None
    assert one.stdout.readline() == "alone\n"
    target = Process.of(one.pid)
    assert (target.is_running(), target.has_ended()) == (False, False), (
        "what is left of the first is a zombie"
    )
    assert told(events, one.pid) == [(one.pid, 5 << 8)]
    one.communicate("")
    assert told(events, one.pid) == [(one.pid, 3 << 8)]
    assert (one.returncode, target.has_ended()) == (3, True)


def test_a_zombie_has_ended_and_so_has_one_whose_pid_is_anothers():
    child = sleeper()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Process.of(child.pid).has_ended()
    child.wait()
    assert Process(os.getpid(), 1).has_ended()
    assert not Process.of(os.getpid()).has_ended()


@pytest.mark.parametrize("more", [250, 251, MOST_NAMED, MOST_NAMED + 1])
def test_of_however_many_it_is_told(events: ExitEvents, more: int):
    one = sleeper()
    events.only([*NOBODY[: more - 1], one.pid])
    one.kill()
    one.wait()
    assert (one.pid, signal.SIGKILL) in told(events, *NOBODY[: more - 1])


def test_what_anybody_else_sends_is_no_event(events: ExitEvents):
    """Root of a container with the host's network can, if it may administer that."""
    forged = bytearray(76)
    forged[0:4] = (76).to_bytes(4, sys.byteorder)
    forged[36:40] = (0x80000000).to_bytes(4, sys.byteorder)
    forged[56:60] = os.getpid().to_bytes(4, sys.byteorder)
    events.only([os.getpid()])
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11) as liar:
        liar.sendto(forged, (events.socket.getsockname()[0], 0))
    assert told(events) == []


def test_without_room_it_is_said_once_that_some_were_lost(events: ExitEvents):
    events.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    events.only(NOBODY)  # so many that all are let pass
    for _ in range(50):
        subprocess.run(["true"], check=True)
    with pytest.raises(OSError) as failed:  # noqa: PT011  # its number is what matters
        heard_all(events)
    assert failed.value.errno == errno.ENOBUFS
    heard_all(events)


def heard_all(events: ExitEvents) -> None:
    while events.first() is not None:
        events.drop_first()


def test_in_another_network_namespace_it_says_that_it_cannot():
    command = ["unshare", "--net", sys.executable, "-c", ELSEWHERE]
    said = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert int(said) in {errno.ECONNREFUSED, errno.EPROTONOSUPPORT}
