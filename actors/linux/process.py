"""What a process sets for itself, and how its children are waited for without losing an exit.

An exit must be journalled before it is reaped: `peek_children` looks, `reap` takes away.
"""

import ctypes
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from actors.linux.libc import checked, libc

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_SECUREBITS = 28
_PR_SET_CHILD_SUBREAPER = 36
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_NAME_BYTES = 15
_CORE_DUMPED = 0x80
_KIB = 1024


def _prctl(option: int, argument: int | bytes) -> None:
    value = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    zero = ctypes.c_ulong(0)
    checked(libc.prctl, ctypes.c_int(option), value, zero, zero, zero)


def set_child_subreaper(*, on: bool = True) -> None:
    """From now on orphaned descendants become children of this process. Not inherited by fork."""
    _prctl(_PR_SET_CHILD_SUBREAPER, int(on))


def make_files_as(uid: int, gid: int) -> None:
    """What this thread makes from now on belongs to these, and it may do what it could before (setfsuid(2)).

    A mount that shows other owners takes new files only of those whom it maps: the host's root is nobody
    there. Only for a thread of its own, since it stays so.
    """
    _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)  # else the thread would lose its capabilities
    libc.setfsgid(gid)
    libc.setfsuid(uid)


def set_parent_death_signal(number: int) -> None:
    """Have the kernel send this signal when the thread that forked this process ends; 0 takes it back.

    A parent that died before the call is not noticed: compare `os.getppid()` afterwards.
    """
    _prctl(_PR_SET_PDEATHSIG, number)


def set_name(text: str) -> None:
    """The name shown by ps and top (/proc/PID/comm), cut to the kernel's 15 bytes."""
    _prctl(_PR_SET_NAME, text.encode(errors="replace")[:_NAME_BYTES])


def name_of(pid: int) -> str:
    """That name of a process; empty for one that is not there."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def open_descriptors(pid: int | str = "self") -> list[int]:
    """The numbers of a process's open descriptors, in order."""
    return sorted(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir())


def descriptor_count(pid: int) -> int:
    """How many descriptors the process has open.

    Raises:
        OSError: it is gone (FileNotFoundError, ProcessLookupError) or not ours to look at.
    """
    return len(open_descriptors(pid))


_BEYOND_ALL = 1 << 30  # above any limit on descriptors; close_range(2) takes one call whatever the distance


def close_descriptors_except(keep: Iterable[int]) -> None:
    """Close every descriptor that is not named, whoever opened it.

    For a process right after fork: a Python object that still owns a closed one must never be used again.
    """
    lowest = 0
    for descriptor in sorted(set(keep)):
        if lowest < descriptor:  # os.closerange(0, 0) closes everything: its upper end wraps around
            os.closerange(lowest, descriptor)
        lowest = descriptor + 1
    os.closerange(lowest, _BEYOND_ALL)


def _wait_status(found: os.waitid_result) -> int:
    if found.si_code == os.CLD_EXITED:
        return found.si_status << 8
    return found.si_status | (_CORE_DUMPED if found.si_code == os.CLD_DUMPED else 0)


def _peek(kind: int, pid: int) -> tuple[int, int] | None:
    try:
        found = os.waitid(kind, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return (found.si_pid, _wait_status(found)) if found is not None else None


def peek_children() -> tuple[int, int] | None:
    """The pid and wait status of a child that has exited, which stays a zombie; None when there is none.

    Asked again without a `reap` it may answer with the same child.
    """
    return _peek(os.P_ALL, 0)


def peek_child(pid: int) -> int | None:
    """The wait status of this child if it has exited; it stays a zombie. None: still running, or no child."""
    found = _peek(os.P_PID, pid)
    return found[1] if found is not None else None


def reap(pid: int) -> int | None:
    """Take away a child that has exited and give its wait status; None when it runs or is not a child."""
    try:
        reaped, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return status if reaped == pid else None


def exit_code(wait_status: int) -> int:
    """The code as a shell gives it, 0 to 255: of a death by signal, 128 and the signal's number."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process takes: bytes resident (shared pages in full), seconds of processor, descriptors."""

    resident: int
    processor: float
    descriptors: int


def usage(pid: int) -> Usage:
    """Cheap, unlike `proportional_memory`: two small files and a listing. Raises OSError when it is gone."""
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    fields = stat[stat.rindex(b")") + 2 :].split()  # proc(5): utime is the 14th field, rss the 24th
    ticks = int(fields[11]) + int(fields[12])
    return Usage(
        int(fields[21]) * os.sysconf("SC_PAGESIZE"), ticks / os.sysconf("SC_CLK_TCK"), descriptor_count(pid)
    )


def proportional_memory(pid: int) -> int:
    """Bytes of memory of the process, each shared page divided by its number of users.

    Raises:
        OSError: the process is gone or not ours to look at.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * _KIB
    return 0
