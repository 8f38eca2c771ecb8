"""Nothing that only decides grows faster than the number of its entities: instructions are counted, not time.

`bin/bench --group simulation` does the same with 10,000 of them.
"""

from __future__ import annotations

import pytest

from bench.counting import growth, instructions
from bench.simulation import SCENARIOS

SIZES = (40, 160)
MOST = 1.15  # the exponent; what looks at all for each has 2, or is on its way there


@pytest.mark.parametrize("name", SCENARIOS)
def test_twice_as_many_are_twice_the_work(name):
    scenario = SCENARIOS[name]
    scenario(2)  # what is done once for all is done
    few, many = (instructions(lambda size=size: scenario(size)) for size in SIZES)
    assert growth(SIZES, (few, many)) < MOST, (few, many)


def test_a_search_for_each_is_found():
    def searching(number):
        return [one for one in range(number) if not any(other == one for other in range(one))]

    few, many = (instructions(lambda size=size: searching(size)) for size in SIZES)
    assert growth(SIZES, (few, many)) > 1.8
    assert instructions(lambda: searching(10)) == instructions(lambda: searching(10))
