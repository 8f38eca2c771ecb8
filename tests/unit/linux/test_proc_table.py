"""What /proc says of processes and interfaces whose names their container has chosen."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import TYPE_CHECKING

import pytest

from actors.linux import proc_table

if TYPE_CHECKING:
    from pathlib import Path

PR_SET_NAME = 15


@pytest.mark.parametrize("name", [b"plain", b"no\xfftext", b"a) R 1 (b", b"two\nlines"])
def test_a_process_is_listed_whatever_it_calls_itself(name: bytes):
    """One whose name is no text could not be seen."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(PR_SET_NAME, ctypes.c_char_p(name), 0, 0, 0)
        os.write(writing, b"x")
        signal.pause()
        os._exit(0)
    try:
        os.read(reading, 1)
        (row,) = proc_table.rows([pid])
        assert (row["pid"], row["pid_inside"], row["uid"]) == (pid, pid, os.geteuid())
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for end in (reading, writing):
            os.close(end)


def test_an_interface_counts_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whoever looked, the metrics of all say, ended over one whose name is no text."""
    figures = b" 0 0 0 0 0 0 0 "
    table = (
        b"head\nhead\n    lo: 1"
        + figures
        + b"2\n \xffeth: 30"
        + figures
        + b"40 0\n  eth1: 5"
        + figures
        + b"6\n"
    )
    (tmp_path / "dev").write_bytes(table)
    monkeypatch.setattr(proc_table, "Path", lambda _: tmp_path / "dev")
    assert proc_table.network_bytes(1) == (35, 46)
    monkeypatch.setattr(proc_table, "Path", lambda _: tmp_path / "gone")
    assert proc_table.network_bytes(1) == (None, None)
