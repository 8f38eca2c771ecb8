"""The zygote's table of children, and the part of it that is written down.

A container actor lives on when the zygote dies. One small file for each, written before its pid is
announced, lets the next zygote find it again (pid and start time, so that a reused pid is never adopted).
"""

import contextlib
import errno
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from actors.linux import descriptors, plain_file
from actors.linux.pidfd import Process
from actors.zygote.control import Control

_SHORT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # which say nothing about a process or its file
log = logging.getLogger("zygote")


class TakeoverError(Exception):
    """What an earlier zygote left cannot be taken over now: to start without it would lose it."""


@dataclass(slots=True)
class Child:
    """One process under the zygote.

    Attributes:
        since: when it was forked, in seconds since the epoch.
        pidfd: set only for an adopted child, which is not ours to wait for.
        reason: its last words, empty while it has none.
        ready: whether it has said that its start succeeded.
        wakers: once it has said that it goes to sleep: the keys of what is to wake it.
        first: the incarnation that it goes on with: those between have only slept.
        naps: how often one of its name has slept.
    """

    name: str
    inc: int
    kind: str
    args: dict[str, Any]
    survives: bool
    process: Process
    control: Control | None = None
    since: float = 0.0
    pidfd: int = -1
    reason: str = ""
    ready: bool = False
    wakers: list[str] | None = None
    first: int = 0
    naps: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For the supervisor and for the file."""
        return {
            "name": self.name,
            "inc": self.inc,
            "kind": self.kind,
            "args": self.args,
            "survives": self.survives,
            "pid": self.process.pid,
            "start": self.process.start_time,
            "since": self.since,
            "ready": self.ready,
            "first": self.first,
            "naps": self.naps,
            "wakers": self.wakers,
        }


@dataclass(slots=True)
class Children:
    """Children by pid and by name; `directory` holds the files of those who survive."""

    directory: Path
    by_pid: dict[int, Child] = field(default_factory=dict)
    by_name: dict[str, Child] = field(default_factory=dict)
    incarnations: dict[str, int] = field(default_factory=dict)
    _naps: dict[str, int] = field(default_factory=dict)
    _slept: dict[str, int] = field(default_factory=dict)  # who has not been started since: its `first`

    def add(self, child: Child) -> None:
        """Enter a child; one that survives is on disk when this returns, if there is room."""
        self.by_pid[child.process.pid] = child
        self.by_name[child.name] = child
        self.incarnations[child.name] = child.inc
        child.first = child.first or self._slept.pop(child.name, child.inc)
        child.naps = self._naps[child.name] = max(child.naps, self._naps.get(child.name, 0))
        if child.survives:
            try:
                _write(self._file(child.name), child.to_dict())
            except OSError as error:
                log.error("%s would not be found by the next zygote: %s", child.name, error)  # noqa: TRY400

    def remove(self, child: Child) -> bool:
        """Strike a child that has ended and close what belonged to it; whether its pid is nobody's now."""
        if self.by_pid.get(child.process.pid) is child:
            del self.by_pid[child.process.pid]
        if self.by_name.get(child.name) is child:
            del self.by_name[child.name]
            if child.survives:
                with contextlib.suppress(FileNotFoundError):
                    self._file(child.name).unlink()
        if child.control is not None:
            child.control.close()
        if child.pidfd >= 0:
            os.close(child.pidfd)
        return child.process.pid not in self.by_pid

    def slept(self, child: Child) -> None:
        """It has gone to sleep: the next of its name goes on with it."""
        child.naps += 1
        self._naps[child.name] = child.naps
        self._slept[child.name] = child.first

    def forget(self, name: str) -> None:
        """What is known of those who had this name."""
        for known in (self.incarnations, self._naps, self._slept):
            known.pop(name, None)

    def survivors(self) -> list[Child]:
        """Those of an earlier zygote that still live, each with a pidfd. Files of the dead are removed.

        Raises TakeoverError: one cannot be looked at; it would be taken for a stranger when it knocks.
        """
        self.directory.mkdir(mode=0o700, exist_ok=True)
        with descriptors.closed_on_failure() as keep:
            every = [self._survivor(path, keep) for path in sorted(self.directory.iterdir())]
        return [child for child in every if child is not None]

    @staticmethod
    def _survivor(path: Path, keep: Callable[[int], int]) -> Child | None:
        """None for one that has ended, and for a file that makes no sense. Raises TakeoverError."""
        if path.name.startswith("."):  # half written
            path.unlink()
            return None
        try:
            fields = json.loads(path.read_text())
            process = Process(fields.pop("pid"), fields.pop("start"))
            return Child(process=process, pidfd=keep(process.open()), **fields)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno in _SHORT:
                raise TakeoverError(f"cannot take over {unquote(path.name)}: {error.strerror}") from error
            path.unlink()
            return None

    def _file(self, name: str) -> Path:
        return self.directory / quote(name, safe="")


def _write(path: Path, fields: dict[str, Any]) -> None:
    """Whole or not at all. No fsync: what it describes does not outlive a power cut either."""
    temporary = path.with_name(f".{path.name}")  # no child's name begins so
    plain_file.write(str(temporary), json.dumps(fields).encode())
    temporary.rename(path)
