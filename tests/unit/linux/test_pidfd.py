"""Identity of processes, and the exit status of those that somebody else reaps."""

import os
import platform
import signal
from contextlib import closing
from pathlib import Path

import pytest

from actors.linux import pidfd, process


class Fork:
    """A child that blocks on a pipe until told, so that nothing here waits for time to pass."""

    def __init__(self, work):
        self._go_read, self._go = os.pipe()
        self._answers, answers_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 99
            try:
                os.close(self._go)
                code = work(self._go_read, answers_write)
            finally:
                os._exit(code)
        os.close(self._go_read)
        os.close(answers_write)

    def tell(self):
        os.write(self._go, b".")

    def read(self):
        return os.read(self._answers, 100)

    def close(self):
        os.close(self._go)
        os.close(self._answers)
        process.reap(self.pid)


def _wait_then(code):
    def work(go, _answers):
        os.read(go, 1)
        return code

    return work


def _killed(child):
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def test_the_start_time_survives_a_name_with_parentheses():
    def work(go, answers):
        process.set_name("a) Z (b) 1")
        os.write(answers, b"!")
        os.read(go, 1)
        return 0

    with closing(Fork(work)) as child:
        before = pidfd.start_time(child.pid)
        child.read()
        assert pidfd.start_time(child.pid) == before > 0
        assert pidfd.parent(child.pid) == os.getpid()
        _killed(child)


def test_a_process_is_known_by_pid_and_start_time():
    with closing(Fork(_wait_then(0))) as child:
        known = pidfd.Process.of(child.pid)
        imposter = pidfd.Process(child.pid, known.start_time + 1)
        assert known.exists()
        assert known.is_running()
        assert known.is_within()
        assert not imposter.exists()
        assert not imposter.is_running()
        with pytest.raises(ProcessLookupError, match="not the one"):
            imposter.open()
        descriptor = known.open()
        assert not pidfd.has_exited(descriptor)
        pidfd.send_signal(descriptor, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert pidfd.has_exited(descriptor)
        assert known.exists()
        assert not known.is_running()
        assert not known.is_within()
        assert process.reap(child.pid) == signal.SIGKILL
        assert not known.exists()
        with pytest.raises(ProcessLookupError):
            pidfd.send_signal(descriptor, 0)
        os.close(descriptor)


def test_a_reaped_process_is_looked_up_in_vain():
    child = Fork(_wait_then(0))
    _killed(child)
    child.close()
    for look_up in (pidfd.start_time, pidfd.parent, pidfd.open_pidfd, pidfd.Process.of):
        with pytest.raises(ProcessLookupError):
            look_up(child.pid)


def _reaper_of_a_grandchild(go, answers):
    grandchild = os.fork()
    if grandchild == 0:
        os.read(go, 1)
        os._exit(77)
    os.write(answers, str(grandchild).encode())
    os.waitid(os.P_PID, grandchild, os.WEXITED | os.WNOWAIT)
    os.write(answers, b"zombie")
    os.read(go, 1)
    os.waitpid(grandchild, 0)
    os.write(answers, b"reaped")
    os.read(go, 1)
    return 0


def test_the_exit_status_of_a_grandchild_that_its_own_parent_reaps():
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    with closing(Fork(_reaper_of_a_grandchild)) as child:
        descriptor = pidfd.Process.of(int(child.read())).open()
        assert pidfd.exit_status(descriptor) is None
        child.tell()
        assert child.read() == b"zombie"
        assert pidfd.has_exited(descriptor)
        assert pidfd.exit_status(descriptor) is None
        child.tell()
        assert child.read() == b"reaped"
        status = pidfd.exit_status(descriptor)
        os.close(descriptor)
        child.tell()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        if release < (6, 15):
            pytest.skip(f"PIDFD_INFO_EXIT needs Linux 6.15, this is {platform.release()}")
        assert status is not None
        assert process.exit_code(status) == 77


def test_a_descriptor_that_is_no_pidfd_tells_nothing():
    with Path(os.devnull).open("rb") as file:
        assert pidfd.exit_status(file.fileno()) is None
