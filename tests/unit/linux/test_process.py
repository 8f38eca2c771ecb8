"""What a process sets for itself, and looking at an exit before taking it away."""

import os
import signal
from pathlib import Path

import pytest

from actors.linux import process


def in_child(work):
    """Run `work` in a forked child; its exit code is the number that `work` returns."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = int(work())
        finally:
            os._exit(code)
    return pid


def wait(pid):
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return process.exit_code(process.reap(pid))


def test_an_exit_is_seen_as_often_as_one_looks_until_it_is_reaped():
    pid = in_child(lambda: 7)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert process.peek_children() == process.peek_children() == (pid, 7 << 8)
    assert process.peek_child(pid) == 7 << 8
    assert process.reap(pid) == 7 << 8
    assert process.reap(pid) is None
    assert process.peek_child(pid) is None


def test_a_running_child_has_no_exit():
    pid = in_child(signal.pause)
    assert process.peek_children() is None
    assert process.peek_child(pid) is None
    assert process.reap(pid) is None
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert process.peek_children() == (pid, signal.SIGKILL)
    assert process.reap(pid) == signal.SIGKILL


def test_nobody_to_wait_for_is_no_error():
    assert process.peek_children() is None


@pytest.mark.parametrize(
    ("status", "code"),
    [(0, 0), (1 << 8, 1), (255 << 8, 255), (9, 137), (15, 143), (11 | 0x80, 139), (64, 192)],
)
def test_a_wait_status_becomes_the_code_of_a_shell(status, code):
    assert process.exit_code(status) == code


def test_an_orphan_comes_to_the_subreaper():
    def work():
        process.set_child_subreaper()
        middle = os.fork()
        if middle == 0:
            if os.fork() == 0:
                os._exit(42)
            os._exit(0)
        os.waitpid(middle, 0)
        _, status = os.waitpid(-1, 0)
        return process.exit_code(status)

    assert wait(in_child(work)) == 42


def test_the_name_is_cut_to_what_the_kernel_keeps():
    def work():
        process.set_name("container/default/long-name")
        return Path("/proc/self/comm").read_text() == "container/defau\n"

    assert wait(in_child(work)) == 1


def test_the_death_signal_is_set_for_the_child_of_a_dead_parent():
    seen, told = os.pipe()
    blocked, held = os.pipe()

    def work():
        os.close(held)
        ready_read, ready = os.pipe()
        if os.fork() == 0:
            process.set_parent_death_signal(signal.SIGTERM)
            signal.signal(signal.SIGTERM, lambda *_: (os.write(told, b"signalled"), os._exit(0)))
            os.write(ready, b".")
            os.read(blocked, 1)
            os._exit(1)
        os.read(ready_read, 1)
        return 0

    assert wait(in_child(work)) == 0
    assert os.read(seen, 100) == b"signalled"
    for descriptor in (seen, told, blocked, held):
        os.close(descriptor)


def test_only_the_named_descriptors_stay_open():
    def work():
        kept = os.open(os.devnull, os.O_RDONLY)
        high = os.dup2(kept, 700)
        os.dup2(kept, 701)
        process.close_descriptors_except([2, high, 9999])
        return set(process.open_descriptors()) - {0} == {2, 700}

    # The listing itself needs a descriptor, which takes the lowest free number: 0.
    assert wait(in_child(work)) == 1


def test_a_process_can_be_measured():
    assert process.proportional_memory(os.getpid()) > 1 << 20
    before = process.descriptor_count(os.getpid())
    descriptor = os.open(os.devnull, os.O_RDONLY)
    assert process.descriptor_count(os.getpid()) == before + 1
    os.close(descriptor)


def test_a_process_that_is_gone_cannot_be_measured():
    pid = in_child(lambda: 0)
    wait(pid)
    with pytest.raises(OSError, match=str(pid)):
        process.proportional_memory(pid)
