"""How the daemon's log is written: lines for people, JSON for machines, or fields for systemd's journal.

Installed once, in the zygote; forks inherit it. Every record says when, how grave, which actor and process,
and where there is one for which request, trace and container (actors/tracing.py). What it says may come from
an image, a registry, a container or a client, so no text of it can look like the beginning of another record:
control characters are escaped, and whatever has several lines is indented.

Nothing here is done for a record whose level is off.
"""

import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from actors import journald
from actors.log_stream import Stream, own_description
from actors.tracing import current

STANDARD_ERROR: Final = 2
MOST = 16 << 10  # characters of one message, and of one traceback
_PRIORITIES: Final = {"DEBUG": "7", "INFO": "6", "WARNING": "4", "ERROR": "3", "CRITICAL": "2"}
_log = logging.getLogger("process")


@dataclass(slots=True)
class _Origin:
    """Who speaks in this process."""

    actor: str = "zygote"
    incarnation: int = 1


_origin = _Origin()


def identify(actor: str, incarnation: int) -> None:
    """From now on this process is that actor."""
    _origin.actor, _origin.incarnation = actor, incarnation


def install(level: str, how: str, journal: str, environment: Mapping[str, str]) -> None:
    """Write what is at least of `level` in the format `how` to standard error.

    Where that is systemd's journal and no JSON is wanted, that is told in its own protocol, at `journal`.
    """
    own_description(STANDARD_ERROR)
    handler: logging.Handler = Stream(STANDARD_ERROR)
    handler.setFormatter(Json() if how == "json" else Text())
    if how == "text" and journald.is_stream(STANDARD_ERROR, environment.get("JOURNAL_STREAM", "")):
        handler = ToJournal(journal, handler)
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.raiseExceptions = False  # a record that makes no sense must not stop an actor
    logging.getLogger("pykka").setLevel(logging.WARNING)  # it tells of every actor that it is one
    logging.captureWarnings(True)  # what the interpreter would print by itself has lines of anybody's
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None, /) -> None:
    _log.error("uncaught: %s", kind.__name__, exc_info=(kind, error, trace) if error else None)


def escaped(text: str) -> str:
    """Without a character that is none to be seen: line ends, controls, and what turns the direction."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escape(one) for one in text)


def _escape(one: str) -> str:
    return one.encode("unicode_escape").decode()


def _word(text: str) -> str:
    """The same in one word, since the next one is another field."""
    return escaped(text[:256]).replace(" ", "\\x20")


def _reason(record: logging.LogRecord) -> list[str]:
    """The lines of its traceback and stack; each by itself can forge nothing."""
    formatter = logging.Formatter()
    text = formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[1] else ""
    text = "\n".join(filter(None, (text, record.stack_info)))
    kept = text if len(text) <= MOST else f"...\n{text[-MOST:]}"
    return [escaped(line) for line in kept.split("\n")] if kept else []


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage()
    return escaped(text if len(text) <= MOST else f"{text[:MOST]}...")


def _context(record: logging.LogRecord) -> dict[str, str]:
    """What this thread works for, as far as there is something; the router, who passes on, says it itself."""
    cause = current.get()
    container = cause.container or _own_container()
    found = {"trace": cause.trace, "operation": cause.op, "container": container}
    return {key: said for key, value in found.items() if (said := value or getattr(record, key, ""))}


def _own_container() -> str:
    kind, _, rest = _origin.actor.partition("/")
    return rest.partition("/")[2] if kind == "container" else ""


class Text(logging.Formatter):
    """`2026-05-31 12:00:00,123 WARNING metadata/2[4711] trace=... operation=...: what is the matter`."""

    def format(self, record: logging.LogRecord) -> str:
        """A line, and the lines of a traceback below it, indented."""
        name = record.name if record.name == "audit" else f"{_origin.actor}/{_origin.incarnation}"
        context = " ".join(f"{key}={_word(value)}" for key, value in _context(record).items())
        who = f"{self.formatTime(record)} {record.levelname:<7} {name}[{record.process}]"
        said = f"{context}: {_message(record)}" if context else _message(record)
        return "\n    ".join((f"{who} {said}", *_reason(record)))


class Json(logging.Formatter):
    """An object in a line. Its keys are part of the interface: docs/operations.md, "The log"."""

    def format(self, record: logging.LogRecord) -> str:
        """The object; only keys that have something to say are there."""
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        found: dict[str, Any] = {
            "time": f"{whole}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "actor": _origin.actor,
            "incarnation": _origin.incarnation,
            "pid": record.process,
            **({"logger": record.name} if record.name != _origin.actor else {}),
            "message": _message(record),
            **_context(record),
        }
        reason = _reason(record)
        return json.dumps({**found, "exception": "\n".join(reason)} if reason else found)


class ToJournal(logging.Handler):
    """Tells systemd's journal; what it does not take at once goes the way to it that `otherwise` knows."""

    def __init__(self, address: str, otherwise: logging.Handler) -> None:
        super().__init__()
        self._address = address
        self._otherwise = otherwise
        self._socket: socket.socket | None = None
        self._pid = 0

    def emit(self, record: logging.LogRecord) -> None:
        """As Handler has it."""
        try:
            self._own_socket().sendto(journald.datagram(_fields(record)), self._address)
        except OSError:
            self._otherwise.handle(record)

    def _own_socket(self) -> socket.socket:
        """Each process has its own: a fork closes what it inherits, and the number may be another's then."""
        if self._socket is None or self._pid != os.getpid():
            if self._socket is not None:
                self._socket.detach()
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            self._pid = os.getpid()
        return self._socket


def _fields(record: logging.LogRecord) -> dict[str, str]:
    return {
        "MESSAGE": "\n    ".join((_message(record), *_reason(record))),
        "PRIORITY": _PRIORITIES.get(record.levelname, "6"),
        "SYSLOG_IDENTIFIER": "actord",
        "ACTOR": _origin.actor,
        "INCARNATION": str(_origin.incarnation),
        "LOGGER": record.name,
        **{key.upper(): _word(value) for key, value in _context(record).items()},
    }
