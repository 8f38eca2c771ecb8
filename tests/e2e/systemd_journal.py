"""A systemd-journald of a test's own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = "/lib/systemd/systemd-journald"
JOURNALD = """
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal && cd "$1" &&
printf '[Journal]\nReadKMsg=no\nAudit=no\nStorage=volatile\nRateLimitIntervalSec=0\n' > journald.conf &&
mount --bind journald.conf /etc/systemd/journald.conf && exec /lib/systemd/systemd-journald
"""


@contextlib.contextmanager
def journald(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """In a mount namespace of its own."""
    if not os.access(PROGRAM, os.X_OK):
        pytest.skip("there is no systemd-journald on this machine")
    unshare = ["unshare", "-m", "--propagation", "private", "sh", "-c", JOURNALD, "sh", str(directory)]
    with subprocess.Popen(unshare, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def listening(journal: subprocess.Popen[bytes]) -> Path:
    """Its socket, once it listens."""
    found = Path(f"/proc/{journal.pid}/root/run/systemd/journal/socket")
    wait_until("the journal listens", found.exists)
    return found


def read(journal: subprocess.Popen[bytes], *matches: str) -> list[dict[str, str]]:
    """What `journalctl` finds."""
    command = ["journalctl", "-q", "-D", f"/proc/{journal.pid}/root/run/log/journal", "-o", "json", *matches]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]
