"""How a run of the chaos runner is told to be done again, and what its scene is to have."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from chaos.__main__ import SLEEP_AFTER, needs, replaying
from chaos.schedule import Fault, Step

SCHEDULE = Path("/there/schedule.json")


def given(**more: object) -> Namespace:
    return Namespace(**{"verb": "", "siege": 0, "points": 0, "runtime": "runc", **more})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "bin/chaos --replay /there/schedule.json"),
        ({"runtime": "crun"}, "bin/chaos --replay /there/schedule.json --runtime crun"),
        ({"verb": "create", "inject": "kill"}, "bin/chaos --enumerate create --inject kill"),
        (
            {"verb": "create", "inject": "kill", "points": 3},
            "bin/chaos --enumerate create --inject kill --points 3 --seed 7",
        ),
        ({"siege": 4, "containers": 20}, "bin/chaos --siege 4 --containers 20"),
    ],
)
def test_the_command_that_does_the_same_once_more(more: dict[str, object], said: str):
    assert replaying(given(**more), 7, SCHEDULE) == said


@pytest.mark.parametrize(
    ("more", "disk", "nap"),
    [
        ({}, True, SLEEP_AFTER),
        ({"verb": "create"}, False, None),
        ({"verb": "sleep"}, False, SLEEP_AFTER),
        ({"siege": 4}, False, None),
    ],
)
def test_a_full_disk_is_the_scenes_own_and_actors_sleep_where_none_is_looked_up(
    more: dict[str, object], nap: float | None, *, disk: bool
):
    steps = [Step(1, 0.0, settle=True, faults=(Fault("full"),))]
    assert needs(given(**more), steps) == {"own_disk": disk, "sleep_after": nap}
    assert not needs(given(**more), [])["own_disk"]
