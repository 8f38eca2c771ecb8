"""What /proc says of processes, for `top`, and of the network of one."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MOST_COMMAND = 4096
# proc_pid_stat(5), counted from the field after the command name, which is field 3.
_STATE, _PARENT, _USER, _SYSTEM, _THREADS, _STARTED, _RESIDENT = 0, 1, 11, 12, 17, 19, 21


def rows(pids: Iterable[int]) -> list[dict[str, Any]]:
    """One for each process that is still there, by pid."""
    found = []
    for pid in sorted(pids):
        with contextlib.suppress(OSError, ValueError, IndexError):
            found.append(_row(Path(f"/proc/{pid}"), pid))
    return found


def _row(place: Path, pid: int) -> dict[str, Any]:
    stat = (place / "stat").read_bytes()
    name = stat[stat.index(b"(") + 1 : stat.rindex(b")")]
    fields = stat[stat.rindex(b")") + 1 :].split()
    command = (place / "cmdline").read_bytes()[:_MOST_COMMAND].rstrip(b"\0").replace(b"\0", b" ")
    inside, uid = _status(place)
    return {
        "pid": pid,
        "pid_inside": inside,
        "ppid": int(fields[_PARENT]),
        "uid": uid,
        "state": fields[_STATE].decode(),
        "threads": int(fields[_THREADS]),
        "memory_bytes": int(fields[_RESIDENT]) * _PAGE,
        "cpu_seconds": (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS,
        "started_ticks": int(fields[_STARTED]),
        "command": (command or b"[" + name + b"]").decode(errors="replace"),
    }


def _status(place: Path) -> tuple[int, int]:
    """The pid in the innermost namespace, and the uid on the host. What it calls itself may be no text."""
    text = (place / "status").read_bytes()
    lines = dict(line.split(b":", 1) for line in text.split(b"\n") if b":" in line)
    return int(lines[b"NSpid"].split()[-1]), int(lines[b"Uid"].split()[0])


def network_bytes(pid: int) -> tuple[int | None, int | None]:
    """Bytes received and sent by all interfaces but the loopback one of a process's network namespace.

    Their names may be no text.
    """
    received = sent = 0
    try:
        lines = Path(f"/proc/{pid}/net/dev").read_bytes().split(b"\n")[2:]
    except OSError:
        return None, None
    for line in lines:
        name, _, rest = line.partition(b":")
        fields = rest.split()
        if name.strip() != b"lo" and len(fields) > 8:
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent
