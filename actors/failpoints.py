"""Failpoints: named places in the code at which a test makes something go wrong.

Code says `failpoints.hit("container", "save", "before")`. Without --failpoints that is a function that
does nothing. With it, the place counts who comes by, and does what was set for it:

    off                     nothing
    error, error(CODE)      raise: a code of the protocol (`unavailable`), or of errno (`ENOSPC`)
    delay(MILLISECONDS)     wait
    hang, hang(GIL)         an endless loop, or one that no other thread of the process gets past
    kill                    SIGKILL this process
    drop-reply              the answer that was about to be sent is not
    double-reply            it is sent twice
    clock(SECONDS)          this process's wall clock differs by so much, until it is told otherwise

each with `count=N` (only the first N times), `p=0.3` (only so often) and `seed=7` (repeatably), as in
`kill(count=1)` or `delay(50,p=0.3,seed=7)`. Set for the whole daemon by the environment, as
ACTORD_FAILPOINTS="name=action;name=action", or for one process by the operation `failpoints.set`. A count
for the whole daemon is kept in a file, so that a process that was killed does not begin to count anew.

Standard library only: the zygote has failpoints too.
"""

import errno
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

from transport.errors import CODES, RemoteError

VARIABLE: Final = "ACTORD_FAILPOINTS"
MAX_POINTS: Final = 1000
Kind = Literal["off", "error", "delay", "hang", "kill", "drop-reply", "double-reply", "clock"]
MAX_JUMP: Final = 3e9  # seconds, about a century: every time of it fits the nanoseconds of a message
_ENDLESS = re.compile(r"(x+x+)+y")  # on many x: the interpreter's lock is held all the while
_NAME = re.compile(r"[a-z0-9_.]{1,100}\Z")
_ACTION = re.compile(r"([a-z-]+)(?:\(([^()]{0,200})\))?\Z")


class FailpointError(ValueError):
    """A name or an action that makes no sense; the text says what would."""


@dataclass(frozen=True, slots=True)
class Action:
    """What happens at a place.

    Attributes:
        argument: the error's code, the delay in milliseconds, or the clock's jump in seconds.
        count: how many times it happens, 0 for always.
        probability: how often it happens, of 1.
        seed: makes the probable repeatable.
    """

    kind: Kind
    argument: str = ""
    count: int = 0
    probability: float = 1.0
    seed: int = 0

    def __str__(self) -> str:
        """As it is written."""
        more = [self.argument] * bool(self.argument)
        more += [f"count={self.count}"] * bool(self.count)
        more += [f"p={self.probability:g}", f"seed={self.seed}"] * (self.probability < 1)
        return f"{self.kind}({','.join(more)})" if more else self.kind


def parse_action(text: str) -> Action:
    """An action as it is written. Raises FailpointError."""
    found = _ACTION.match(text.strip())
    if found is None or found[1] not in get_args(Kind):
        raise FailpointError(f"failpoint action {text[:80]!r} is none of {', '.join(get_args(Kind))}")
    kind, argument = cast("Kind", found[1]), ""
    given: dict[str, str] = {}
    for part in filter(None, (found[2] or "").replace(" ", "").split(",")):
        key, equals, value = part.partition("=")
        if not equals and not argument:
            argument = part
        elif key in ("count", "p", "seed") and key not in given:
            given[key] = value
        else:
            raise FailpointError(f"failpoint action {text[:80]!r}: {part!r} is not understood")
    _check_argument(kind, argument)
    return _with_options(Action(kind, argument), given, text)


def _check_argument(kind: Kind, argument: str) -> None:
    if kind == "error":
        known = not argument or argument in CODES or argument in errno.errorcode.values()
    elif kind == "delay":
        known = argument.replace(".", "", 1).isdecimal() and float(argument) <= 3_600_000
    elif kind == "hang":
        known = argument in ("", "GIL")
    elif kind == "clock":
        known = argument.removeprefix("-").isdecimal() and abs(int(argument)) <= MAX_JUMP
    else:
        known = not argument
    if not known:
        raise FailpointError(f"failpoint action {kind} does not take {argument[:80]!r}")


def _with_options(action: Action, given: dict[str, str], text: str) -> Action:
    try:
        count, seed = int(given.get("count", "0")), int(given.get("seed", "0"))
        probability = float(given.get("p", "1"))
    except ValueError as error:
        raise FailpointError(f"failpoint action {text[:80]!r}: not a number") from error
    if count < 0 or not 0 <= probability <= 1:
        raise FailpointError(f"failpoint action {text[:80]!r}: count or p is out of range")
    return Action(action.kind, action.argument, count, probability, seed)


def parse_points(text: str) -> dict[str, Action]:
    """`name=action;name=action`. Raises FailpointError."""
    points = {}
    for part in filter(None, (one.strip() for one in text.split(";"))):
        name, equals, action = part.partition("=")
        if not equals:
            raise FailpointError(f"failpoint {part[:80]!r} is not of the form name=action")
        points[_checked(name.strip())] = parse_action(action)
    return points


def is_name(text: str) -> bool:
    """Whether a place could be named so."""
    return _NAME.match(text) is not None


def _checked(name: str) -> str:
    if not is_name(name):
        raise FailpointError(f"failpoint name {name[:80]!r} is not of lower-case words and dots")
    return name


@dataclass(slots=True)
class _Point:
    """Something set for a place; `shared` when its count goes for all processes together."""

    action: Action
    shared: bool
    done: int = 0
    chance: random.Random | None = None


class Failpoints:
    """All of one process. From any thread.

    Attributes:
        actor: who we are; part of what makes one process's luck differ from another's.
        passed: how often each place was passed.
    """

    def __init__(self, counts: Path, actor: str = "zygote") -> None:
        """`counts` is the directory of the counts that processes share; what is there, is forgotten."""
        self.actor = actor
        self.passed: Counter[str] = Counter()
        self._counts = counts
        self._points: dict[str, _Point] = {}
        self._lock = threading.Lock()
        counts.mkdir(mode=0o700, exist_ok=True)
        for path in counts.iterdir():
            path.unlink()

    def set(self, name: str, action: Action, *, shared: bool = False) -> None:
        """What happens at `name` from now on, in this process and in those forked later.

        Raises:
            FailpointError: the name is not one, or there are too many.
        """
        with self._lock:
            if len(self._points) >= MAX_POINTS and name not in self._points:
                raise FailpointError(f"more than {MAX_POINTS} failpoints are set")
            self._points[_checked(name)] = _Point(action, shared)
            if shared:
                (self._counts / name).unlink(missing_ok=True)

    def described(self) -> list[dict[str, object]]:
        """Every place that was passed or has an action: name, how often it was passed, action."""
        names = sorted({*self.passed, *self._points})
        actions = {name: str(point.action) for name, point in self._points.items()}
        return [{"name": n, "passed": self.passed[n], "action": actions.get(n, "off")} for n in names]

    def hit(self, *words: str) -> int:
        """Somebody comes by; the words make the name. Returns how often an answer is then to be sent."""
        name = ".".join(words)
        if ".failpoints." in name:
            return 1
        with self._lock:
            self.passed[name] += 1
            point = self._points.get(name)
            if point is None or not self._is_due(name, point):
                return 1
        return _act(name, point.action)

    def _is_due(self, name: str, point: _Point) -> bool:
        action = point.action
        if action.probability < 1:
            if point.chance is None:
                point.chance = random.Random(f"{action.seed} {name} {self.actor}")  # noqa: S311  # repeatable
            if point.chance.random() >= action.probability:
                return False
        if not action.count:
            return True
        if point.shared:
            return self._claim(name, action.count)
        point.done += 1
        return point.done <= action.count

    def _claim(self, name: str, count: int) -> bool:
        """One of `count`, whatever process asks, and also after this one is gone: a byte in a file."""
        file = os.open(self._counts / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(file).st_size >= count:
                return False
            os.write(file, b".")
            return os.lseek(file, 0, os.SEEK_CUR) <= count
        finally:
            os.close(file)


def _act(name: str, action: Action) -> int:
    match action.kind:
        case "error":
            raise _error(name, action.argument)
        case "delay":
            time.sleep(float(action.argument) / 1000)
        case "hang":
            while True:
                _hold_the_lock(bool(action.argument))
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "clock":
            _set_clock(int(action.argument))
        case "drop-reply":
            return 0
        case "double-reply":
            return 2
        case "off":
            pass
    return 1


_true_time, _true_time_ns = time.time, time.time_ns


def _set_clock(ahead: int) -> None:
    """The wall clock of this process alone; the kernel's monotonic clocks do not jump."""
    shifted = {
        "time": lambda: _true_time() + ahead,
        "time_ns": lambda: _true_time_ns() + ahead * 1_000_000_000,
    }
    vars(time).update(shifted)


def _hold_the_lock(wanted: bool) -> None:  # the one caller has it in hand
    if wanted:
        _ENDLESS.match("x" * 1000)


def _error(name: str, code: str) -> Exception:
    if code in CODES or not code:
        return RemoteError(code or "internal", f"failpoint {name}", outcome="unknown")
    return OSError(getattr(errno, code), f"failpoint {name}: {os.strerror(getattr(errno, code))}")


def _nothing(*_words: str) -> int:
    return 1


hit: Callable[..., int] = _nothing
active: Failpoints | None = None


def enable(failpoints: Failpoints) -> None:
    """Make `hit` work in this process and in all that it forks."""
    globals().update(hit=failpoints.hit, active=failpoints)


def enable_from_environment(counts: Path) -> None:
    """Enable, with what the environment says. Raises FailpointError."""
    failpoints = Failpoints(counts)
    for name, action in parse_points(os.environ.get(VARIABLE, "")).items():
        failpoints.set(name, action, shared=True)
    enable(failpoints)


def begin(actor: str) -> None:
    """In a process that was just forked: what the zygote passed does not count here."""
    if active is not None:
        active.actor = actor
        active.passed.clear()
