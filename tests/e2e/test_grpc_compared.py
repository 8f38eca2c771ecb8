"""Calls drawn by chance, of Debian's containerd and of actord: the same comes of them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from api_steps import Drawn, Step
from archives import Containerd
from gateway_api import Api, serving
from test_grpc_leases import LEASES

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("containerd") is None, reason="containerd is not installed"),
]
SEEDS: Final = range(40)
STEPS: Final = 25
BOTH: Final = frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION"})
ON_PURPOSE: Final = {
    ("", "UNKNOWN", "INVALID_ARGUMENT"): "a mistake of its client for which containerd has no kind",
    ("Leases.AddResource", "UNIMPLEMENTED", "INVALID_ARGUMENT"): "no type of a resource",
    ("Leases.AddResource", "UNIMPLEMENTED", "OK"): "images can be held, as with containerd 2",
    ("Leases.DeleteResource", "UNIMPLEMENTED", "INVALID_ARGUMENT"): "no type of a resource",
    ("Leases.DeleteResource", "UNIMPLEMENTED", "OK"): "images can be held, as with containerd 2",
    ("Leases.DeleteResource", "OK", "INVALID_ARGUMENT"): "no type of a resource",
    ("Leases.AddResource", "INVALID_ARGUMENT", "OK"): "what is no digest holds nothing",
    ("Leases.DeleteResource", "INVALID_ARGUMENT", "OK"): "what is no digest holds nothing",
    ("Leases.Create", "OK", "INVALID_ARGUMENT"): "a label has a most for everybody, not for all but leases",
    ("Content.Read", "OK", "OUT_OF_RANGE"): "there is nothing before the beginning",
    (
        "Content.Write",
        "ALREADY_EXISTS",
        "FAILED_PRECONDITION",
    ): "of two mistakes, each names another one first",
    ("Content.Write", "ALREADY_EXISTS", "OUT_OF_RANGE"): "of two mistakes, each names another one first",
    ("Content.Write", "OUT_OF_RANGE", "FAILED_PRECONDITION"): "of two mistakes, each names another one first",
    ("Namespaces.Delete", "UNKNOWN", "NOT_FOUND"): "a name that is none",
    ("Content.Write", "OK", "FAILED_PRECONDITION"): "more than was announced is refused when it comes",
    ("Namespaces.Update", "OK", "INVALID_ARGUMENT"): "a name that is none, with which Create makes nothing",
}
"""By method (empty: any), and the codes of containerd and of actord; what comes afterwards may differ too."""


def on_purpose(step: Step, theirs: str, ours: str) -> str:
    """Why a call may end in two ways; empty when it may not."""
    if theirs != ours and {theirs, ours} <= BOTH and "INVALID_ARGUMENT" in (theirs, ours):
        return "of two mistakes, each names another one first"
    method = f"{step.service.rpartition('.')[2]}.{step.method}"
    return next(
        (why for (one, *codes), why in ON_PURPOSE.items() if one in ("", method) and codes == [theirs, ours]),
        "",
    )


@pytest.fixture(scope="module")
def pair(short_root: Path) -> Iterator[tuple[Api, Api]]:
    """Clients of containerd and of actord."""
    directory = Path(tempfile.mkdtemp(prefix="v-", dir=short_root))
    (directory / "a").mkdir()
    with Containerd(directory / "c").running(), serving(directory / "a") as (_, ours):
        theirs = Api.at(directory / "c/c.sock")
        with contextlib.closing(theirs.channel):
            for one in (theirs, ours):
                one.ask(LEASES, "List")  # connects, so that no test is thought to have left that behind
            yield theirs, ours


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_comes_of_it(pair: tuple[Api, Api], seed: int):
    """Until something differs on purpose: what there is may, from then on."""
    drawn, past = Drawn(seed, f"n{seed}"), []
    for step in [*drawn.first(), *(drawn.step() for _ in range(STEPS))]:
        (theirs, said), (ours, answered) = (step.outcome(api) for api in pair)
        if on_purpose(step, theirs, ours):
            return
        past.append(f"{step}: {theirs}")
        assert (ours, answered) == (theirs, said), "\n".join(past)
