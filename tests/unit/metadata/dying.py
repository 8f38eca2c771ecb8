"""Run an action in a child that kills itself before its n-th effect: SIGKILL at every possible step.

Effects are the changes to directories (seen through Python's audit events) and the SQL statements that write,
also each one of a script.
"""

import itertools
import os
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

_EFFECTS = frozenset({"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.chown", "os.link"})
_READS = ("SELECT", "WITH", "PRAGMA", "--")
_WRITES = "PRAGMA user_version="
_LIMIT = 200


def deaths(action: Callable[[], None]) -> Iterator[int]:
    """Run the action again and again, dying one effect later each time; the last run ends by itself.

    After each run the number of effects done is given, so that the caller looks at what is left and sets the
    scene for the next.
    """
    for step in itertools.count(1):
        assert step < _LIMIT, "the action never ends"
        killed = _run(action, step)
        yield step - 1
        if not killed:
            return


def _run(action: Callable[[], None], step: int) -> bool:
    pid = os.fork()
    if pid == 0:
        _child(action, step)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, -signal.SIGKILL}
    return code != 0


def _child(action: Callable[[], None], step: int) -> None:
    try:
        _arm(step)
        action()
    except BaseException:  # noqa: BLE001  the child must never return into pytest
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _arm(step: int) -> None:
    left = itertools.count(step, -1)

    def effect() -> None:
        if next(left) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(lambda event, _arguments: effect() if event in _EFFECTS else None)
    plain = sqlite3.connect

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = plain(*arguments, **options)
        connection.set_trace_callback(begun)
        return connection

    def begun(sql: str) -> None:
        if sql.lstrip().startswith(_WRITES) or not sql.lstrip().startswith(_READS):
            effect()

    sqlite3.connect = connect  # type: ignore[assignment]
