"""Memory offered for merging, as the kernel shows it."""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from actors.linux.memory import offer_for_merging

SIZE = 1 << 20


def _flags(start: int) -> set[str]:
    """The VmFlags of the mapping that begins at or before `start`, from smaps (proc(5))."""
    flags: set[str] = set()
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if span := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(span[1], 16) <= start < int(span[2], 16)
        elif inside and line.startswith("VmFlags:"):
            flags = set(line.split()[1:])
    return flags


def _in_a_fork(check) -> int:
    pid = os.fork()
    if not pid:
        os._exit(check())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.skipif(not Path("/sys/kernel/mm/ksm").exists(), reason="this kernel has no same-page merging")
def test_private_memory_is_offered_and_a_fork_inherits_that():
    with mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory[0] = 1
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))

        def check() -> int:
            before = "mg" in _flags(start)
            offer_for_merging()
            after = "mg" in _flags(start)
            inherited = _in_a_fork(lambda: 0 if "mg" in _flags(start) else 1)
            return 0 if (not before and after and inherited == 0) else 1

        assert _in_a_fork(check) == 0


def test_a_program_that_is_executed_is_not_offered():
    """The container must not inherit it: it runs what others wrote, and never agreed."""
    code = "print(any(line.startswith('VmFlags') and ' mg' in line for line in open('/proc/self/smaps')))"

    def check() -> int:
        offer_for_merging()
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        return 0 if said.strip() == "False" else 1

    assert _in_a_fork(check) == 0
