"""Debian's Docker Engine, unmodified, on actord: each step as on Debian's containerd.

The whole session takes minutes: run it with -m slow.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import engine as engines
import pytest
from session import STEPS, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]


@pytest.fixture
def pair(tmp: Path) -> Iterator[tuple[Engine, Engine]]:
    """An engine on actord, and one on containerd."""
    archive = engines.root_archive(tmp)
    (tmp / "a").mkdir()
    (tmp / "c").mkdir()
    with contextlib.ExitStack() as stack:
        theirs = stack.enter_context(engines.on_containerd(tmp / "c", archive))
        ours, _ = stack.enter_context(engines.on_actord(tmp / "a", archive))
        yield ours, theirs


def _compare(ours: Engine, theirs: Engine, steps: Sequence[Step]) -> None:
    different = []
    for step in steps:
        outcome = step.outcome(ours)
        print(f"{step.name}: {outcome!r}")  # noqa: T201  (shown when the test fails)
        if not step.ours and outcome != (other := step.outcome(theirs)):
            different.append(f"{step.name}: {outcome!r}, but on containerd {other!r}")
    assert not different, "\n".join(different)


def test_a_short_session(pair: tuple[Engine, Engine]):
    _compare(*pair, [step for step in STEPS if step.quick])


@pytest.mark.slow
def test_the_whole_session(pair: tuple[Engine, Engine]):
    assert len(STEPS) >= 60
    _compare(*pair, STEPS)
