"""The schedule of faults: drawn from a seed before anything is done, written down, and read back to replay.

A target that comes and goes (a container's actor, a puller) is named by its kind and a number between 0 and
1, which picks one of those that live at the time. So a schedule makes sense in any run.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from actors.tree import TREE

VERSION: Final = 2
PAUSE_LIMIT: Final = 1.2  # seconds: well below what counts as a hang
STATIC: Final = (*(child.id for child in TREE.children if child.type == "worker"), "supervisor")
OFTEN: Final[Mapping[str, int]] = {
    "metadata": 12,
    "content": 7,
    "snapshots": 7,
    "events": 8,
    "metrics": 4,
    "router": 8,
    "supervisor": 8,
}
WEIGHTS: Final[Mapping[str, int]] = {
    "container": 24,
    "puller": 12,
    **{name: OFTEN.get(name, 6) for name in STATIC},
}
VICTIMS: Final[Mapping[str, int]] = {**WEIGHTS, "keeper": 6}
"""Who is killed: the keeper is no actor, and can have nothing else done to it."""
KINDS: Final[Mapping[str, int]] = {
    "kill": 68,
    "pause": 10,
    "freeze": 6,
    "zygote": 4,
    "everything": 4,
    "restart": 2,
    "descriptors": 3,
    "memory": 3,
    "failpoint": 12,
    "full": 3,
    "disk": 3,
    "drop": 2,
    "double": 3,
    "clock": 3,
}
"""Kinds of fault and how often each is drawn."""
ACTIONS: Final = ("kill(count=1)", "kill(count=1)", "error(unavailable,count=1)", "delay(150,count=3)")
"""What a failpoint does; which of those that the actor has passed so far is picked when it is set."""
JUMPS: Final = (-86400, -3600, -60, 60, 3600, 86400, 315_360_000, 0)
"""Seconds by which a clock may then be wrong."""
STORES: Final = ("metadata", "content", "snapshots", "events")
WHOLE: Final = frozenset({"zygote", "everything", "restart"})
"""Faults of the whole daemon: they have no target."""
MACHINE: Final = frozenset({"full"})
"""Faults of what all actors share: no target either, yet they go with others."""
BY_FAILPOINT: Final = frozenset({"failpoint", "drop", "double", "clock"})
LASTING: Final = BY_FAILPOINT | MACHINE | frozenset({"pause", "freeze", "descriptors", "disk"})
"""Faults that end after a while."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: a key of KINDS.
        target: an actor's name or `keeper`, or `container` or `puller` for one of those; empty for the whole
            daemon.
        pick: which of several, 0 to 1.
        seconds: how long it lasts, 0 for those that are over at once.
        detail: what a failpoint is to do (actors/failpoints.py).
    """

    kind: str
    target: str = ""
    pick: float = 0.0
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Faults that strike at once.

    Attributes:
        wait: seconds before them.
        settle: whether everything is to be well again before the next step.
    """

    number: int
    wait: float
    settle: bool
    faults: tuple[Fault, ...]


def draw(seed: int, faults: int, kinds: Mapping[str, int] = KINDS) -> list[Step]:
    """A schedule with at least `faults` faults."""
    chance = random.Random(seed)
    steps: list[Step] = []
    total = 0
    while total < faults:
        step = _step(chance, len(steps) + 1, kinds)
        steps.append(step)
        total += len(step.faults)
    return steps


def _step(chance: random.Random, number: int, kinds: Mapping[str, int]) -> Step:
    kind = _weighted(chance, kinds)
    faults = [_fault(chance, kind)]
    if kind not in WHOLE and chance.random() < 0.25:  # several at once
        others = {name: weight for name, weight in kinds.items() if name not in WHOLE}
        faults += [_fault(chance, _weighted(chance, others)) for _ in range(chance.randint(1, 4))]
    settle = kind in WHOLE or chance.random() < 0.7
    return Step(number, round(chance.uniform(0, 0.3), 3), settle, tuple(faults))


def _fault(chance: random.Random, kind: str) -> Fault:
    if kind in WHOLE:
        return Fault(kind)
    seconds = round(chance.uniform(0.02, PAUSE_LIMIT), 3) if kind in LASTING else 0.0
    if kind in MACHINE:
        return Fault(kind, seconds=seconds)
    weights = VICTIMS if kind == "kill" else WEIGHTS
    target = chance.choice(STORES) if kind == "disk" else _weighted(chance, weights)
    return Fault(kind, target, round(chance.random(), 6), seconds, _detail(chance, kind))


def _detail(chance: random.Random, kind: str) -> str:
    match kind:
        case "failpoint":
            return chance.choice(ACTIONS)
        case "drop":
            return "drop-reply(count=1)"
        case "double":
            return "double-reply(count=3)"
        case "clock":
            return f"clock({chance.choice(JUMPS)},count=1)"
        case _:
            return ""


def _weighted(chance: random.Random, weights: Mapping[str, int]) -> str:
    return chance.choices(list(weights), list(weights.values()))[0]


def write(path: Path, seed: int, steps: Sequence[Step]) -> None:
    """Write a schedule down."""
    document = {"version": VERSION, "seed": seed, "steps": [asdict(step) for step in steps]}
    path.write_text(json.dumps(document, indent=1) + "\n")


def read(path: Path) -> tuple[int, list[Step]]:
    """Seed and steps of a schedule. Raises ValueError, KeyError, TypeError, OSError."""
    document: dict[str, Any] = json.loads(path.read_text())
    if document["version"] != VERSION:
        raise ValueError(f"{path} is of version {document['version']}, this program reads {VERSION}")
    steps = [
        Step(one["number"], one["wait"], one["settle"], tuple(Fault(**fault) for fault in one["faults"]))
        for one in document["steps"]
    ]
    return int(document["seed"]), steps
