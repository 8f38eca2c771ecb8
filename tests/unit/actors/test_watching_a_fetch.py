"""For how long a blob is left to somebody else who fetches it."""

import pytest

from actors.transfers.fetch import LEAST_BYTES, PATIENCE, Watch


def test_what_gets_on_is_watched_for_ever():
    watch = Watch()
    assert not any(watch.is_in_vain(turn * LEAST_BYTES, turn * PATIENCE * 0.9) for turn in range(100))


@pytest.mark.parametrize("each", [0, 1, LEAST_BYTES // 20])
def test_what_trickles_is_not(each):
    watch = Watch()
    found = [watch.is_in_vain(turn * each, 1000 + turn * PATIENCE / 10) for turn in range(12)]
    assert found == [False] * 10 + [True] * 2


def test_what_gets_on_again_is_watched_again():
    watch = Watch()
    assert not watch.is_in_vain(5, 0)
    assert watch.is_in_vain(6, PATIENCE)
    assert not watch.is_in_vain(LEAST_BYTES + 5, PATIENCE)
