"""Ranges of ids: which are read, which are chosen."""

from __future__ import annotations

import pytest

from actors.runtime import id_ranges
from actors.runtime.id_ranges import FIRST, SIZE, IdRange
from storage.errors import InvalidArgumentError
from storage.snapshotters.ids import Shift


@pytest.mark.parametrize("text", ["", "host"])
def test_the_hosts_own(text: str):
    assert id_ranges.parse(text) is None


def test_a_range_and_how_owners_are_shifted_by_it():
    found = id_ranges.parse("100000:200000:65536")
    assert found == IdRange(100000, 200000, 65536)
    assert found.shift.owner(0, 7) == (100000, 200007)
    assert found.shift.back().owner(100000, 200007) == (0, 7)
    assert found.shift.back().owner(5, 5) == (65534, 65534), "whoever has no place in the range is nobody"
    assert Shift().back() == Shift()


@pytest.mark.parametrize(
    "text",
    [
        "auto ",
        "100000",
        "100000:65536",
        "0:1:65536",
        "1:0:65536",
        "1:1:65535",
        "1:4294967295:65536",
        "-1:1:65536",
    ],
)
def test_what_is_no_range_is_refused_by_name(text: str):
    with pytest.raises(InvalidArgumentError, match="UID:GID:SIZE"):
        id_ranges.parse(text)


def test_a_chosen_range_touches_no_other():
    first = id_ranges.chosen(["", "host"])
    assert first == (FIRST, FIRST, SIZE)
    second = id_ranges.chosen([str(first)])
    assert second == (FIRST + SIZE, FIRST + SIZE, SIZE)
    assert id_ranges.chosen([str(second)]) == first, "one that is free again is given out again"
    half = f"{FIRST + SIZE // 2}:1:{SIZE}"
    assert id_ranges.chosen([half]) == (FIRST + 2 * SIZE, FIRST + 2 * SIZE, SIZE)


def test_when_none_is_left_that_is_said():
    everything = f"{FIRST}:1:{id_ranges.END - FIRST}"
    with pytest.raises(InvalidArgumentError, match="no range of ids is free"):
        id_ranges.chosen([everything])
