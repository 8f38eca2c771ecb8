from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys

import pytest
from actor_town import print_to_own_output

from actors.linux import process
from actors.settings import Settings
from actors.zygote.birth import Birth, begin
from actors.zygote.control import Closed, Message, pair


def born(program, tmp, *, survives=False, before=lambda: None):
    """Fork and begin as the zygote does; what the child says until it ends, and its exit code."""
    ours, theirs = pair()
    settings = Settings(root=tmp / "root", state=tmp / "state")
    birth = Birth("container/default/a", 3, "container", settings, theirs, "instance", {}, survives)
    zygote = os.getpid()
    pid = os.fork()
    if pid == 0:
        print_to_own_output()
        before()
        begin(birth, program, zygote)
    theirs.close()
    if survives:
        ours.send(op="go")
    said: list[Message] = []
    try:
        while True:
            said.append(ours.receive())
    except Closed:
        ours.close()
    return said, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fail(text):
    raise RuntimeError(text)


def leave(code):
    raise SystemExit(code)


@pytest.mark.parametrize(
    ("program", "said", "code"),
    [
        (lambda _: None, [], 0),
        (lambda _: fail("why"), [{"op": "last_words", "reason": "RuntimeError: why"}], 1),
        (
            lambda _: fail("x" * 5000),
            [{"op": "last_words", "reason": ("RuntimeError: " + "x" * 5000)[:1000]}],
            1,
        ),
        (lambda _: fail("\udcff"), [{"op": "last_words", "reason": "RuntimeError: \udcff"}], 1),
        (lambda _: leave(7), [], 7),
        (lambda _: leave("text"), [], 1),
        (lambda _: leave(None), [], 1),
        (lambda _: os._exit(9), [], 9),
        (lambda _: os.kill(os.getpid(), signal.SIGKILL), [], -signal.SIGKILL),
        (lambda birth: birth.control.close() or fail("nobody hears"), [], 1),
    ],
)
def test_how_a_child_ends(tmp, program, said, code):
    assert born(program, tmp) == (said, code)


def test_a_child_never_comes_back_when_nothing_can_be_printed(tmp):
    def broken():
        read, write = os.pipe()
        os.close(read)
        sys.stdout = sys.stderr = os.fdopen(write, "w", buffering=4096)
        sys.stderr.write("text that cannot be flushed")

    def fail_loudly(_):
        os.dup2(2, 2)
        fail("silently")

    said, code = born(fail_loudly, tmp, before=broken)
    assert ([one["reason"] for one in said], code) == (["RuntimeError: silently"], 1)


@pytest.mark.parametrize("survives", [True, False])
def test_what_a_child_starts_with(tmp, survives):
    def tell(birth):
        birth.control.send(
            op="told",
            descriptors=process.open_descriptors(),
            control=birth.control.fileno(),
            leader=os.getsid(0) == os.getpid(),
            defaults=[signal.getsignal(one) is signal.SIG_DFL for one in (signal.SIGTERM, signal.SIGCHLD)],
            address=birth.address,
        )

    stray = os.open("/", os.O_RDONLY)
    (told,), code = born(tell, tmp, survives=survives)
    os.close(stray)
    assert code == 0
    assert set(told["descriptors"]) >= {0, 1, 2, told["control"]}
    assert len(told["descriptors"]) == 5  # and that of the listing itself
    assert (told["leader"], told["defaults"]) == (True, [True, True])
    assert told["address"] == "container/default/a/3"


def test_what_the_zygote_has_left_to_the_collector_closes_nothing_of_the_childs(tmp):
    """A number that the child has closed and given anew, to a database say, is not closed once more."""

    def litter():
        ring = [socket.socket() for _ in range(8)]
        ring.append(ring)

    def look(birth):
        taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(64)]
        gc.collect()
        birth.control.send(op="told", lost=sorted(set(taken) - set(process.open_descriptors())))

    gc.collect()
    assert born(look, tmp, before=litter) == ([{"op": "told", "lost": []}], 0)


def test_what_a_child_logs_is_written_into_no_file_that_it_has_opened(tmp, capfd):
    """Least of all because of us, who have pytest's log and captured output under numbers of their own."""

    def log(birth):
        files = [os.open(tmp / str(number), os.O_WRONLY | os.O_CREAT) for number in range(64)]
        logging.getLogger("a").warning("said aloud")
        print("and printed", file=sys.stderr, flush=True)  # noqa: T201
        birth.control.send(op="told", written=[size for one in files if (size := os.fstat(one).st_size)])

    assert born(log, tmp) == ([{"op": "told", "written": []}], 0)
    assert capfd.readouterr().err == "said aloud\nand printed\n"


def test_a_child_whose_zygote_died_before_it_began_ends(tmp):
    ours, theirs = pair()
    settings = Settings(root=tmp / "root", state=tmp / "state")
    pid = os.fork()
    if pid == 0:
        print_to_own_output()
        begin(Birth("w", 1, "worker", settings, theirs, "i"), lambda _: None, 1 << 22)
    theirs.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    ours.close()
