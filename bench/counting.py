"""How much work something is, counted and not timed: the interpreter's instructions, and those of SQLite.

Counts are the same on a busy machine as on an idle one. What the interpreter does in C, such as a search
through a list, is one instruction however long it takes: for that there is the time.
"""

from __future__ import annotations

import gc
import math
import sqlite3
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_EACH: Final = 20  # instructions of SQLite between two counts


class Work(NamedTuple):
    """What it took."""

    instructions: int
    seconds: float  # of the processor, without the counting


def measured(run: Callable[[], object]) -> Work:
    """Run it twice: once for each."""
    gc.collect()  # what others have left is not to be looked through meanwhile
    began = time.process_time()
    run()
    return Work(0, time.process_time() - began)._replace(instructions=instructions(run))


def instructions(run: Callable[[], object]) -> int:
    """Of the interpreter, in this thread, and of the databases that are opened meanwhile."""
    count = 0

    def inside(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "opcode"
        return inside

    def entered(frame: FrameType, _event: str, _argument: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return inside

    def stepped() -> int:
        nonlocal count
        count += _EACH
        return 0

    def connected(*arguments: Any, **how: Any) -> sqlite3.Connection:
        found: sqlite3.Connection = connect(*arguments, **how)
        found.set_progress_handler(stepped, _EACH)
        return found

    connect, before = sqlite3.connect, sys.gettrace()
    with patch("sqlite3.connect", connected):
        sys.settrace(entered)
        try:
            run()
        finally:
            sys.settrace(before)
    return count


def growth(sizes: tuple[int, int], amounts: tuple[float, float]) -> float:
    """The exponent with which the amount grows with the size: 1 is linear, 2 is the square."""
    return math.log(amounts[1] / amounts[0]) / math.log(sizes[1] / sizes[0])
