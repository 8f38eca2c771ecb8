"""Parts of an ingest: whatever order the windows come in, and whoever is killed when, nothing comes twice."""

import random
import threading

from hypothesis import given
from hypothesis import strategies as st

from storage.content.parts import Parts

WINDOW = 10


def taken_over(parts, data):
    """Append to `data` all that follows it in parts, as the writer does."""
    while True:
        more, filling = parts.next_for_writer(len(data), wait=0)
        if not more:
            return filling
        data += more
        if len(data) % WINDOW == 0:
            parts.remove(len(data) // WINDOW - 1)


@given(st.integers(1, 95), st.integers(0, 2**32), st.integers(0, 12))
def test_any_order_and_any_deaths_fetch_each_byte_once(tmp_path_factory, size, seed, deaths):
    """A simulated transfer: side connections and the writer take turns at random, and all die at times."""
    directory, dice = tmp_path_factory.mktemp("ingest"), random.Random(seed)  # noqa: S311
    content, data, fetched = bytes(range(size)), bytearray(), [0] * size
    parts, claims = Parts(directory, size, WINDOW, 0), []
    while len(data) < size:
        step = dice.choice(("claim", "fill", "fill", "write", "die"))
        if step == "die" and deaths:
            deaths -= 1
            parts, claims = Parts(directory, size, WINDOW, len(data)), []
        elif step == "claim" and (number := parts.claim()) is not None:
            claims.append(number)
        elif step == "fill" and claims:
            number = dice.choice(claims)
            start, end = parts.span(number)
            offset = start + parts.length(number)
            stop = min(end, offset + dice.randrange(1, 5))
            parts.append(number, content[offset:stop])
            fetched[offset:stop] = [count + 1 for count in fetched[offset:stop]]
            if stop == end:
                claims.remove(number)
                parts.release(number)
        elif step == "write" and not taken_over(parts, data) and len(data) < size:
            fetched[len(data)] += 1
            data += content[len(data) : len(data) + 1]
    assert bytes(data) == content
    assert fetched == [1] * size


def test_parts_of_another_window_size_are_dropped(tmp_path):
    parts = Parts(tmp_path, 40, WINDOW, 0)
    assert [parts.claim(), parts.claim()] == [1, 2]
    parts.append(1, b"abc")
    assert Parts(tmp_path, 40, WINDOW, 0).length(1) == 3
    assert Parts(tmp_path, 40, WINDOW + 1, 0).length(1) == 0
    assert not (tmp_path / "part-1").exists()


def test_the_writer_is_woken_by_a_part_that_grows(tmp_path):
    parts = Parts(tmp_path, 20, WINDOW, 0)
    assert parts.claim() == 1
    later = threading.Timer(0.05, lambda: parts.append(1, b"come"))
    later.start()
    assert parts.next_for_writer(10, wait=30) == (b"come", True)
    later.join()


def test_windows_are_not_given_out_behind_the_writer_or_after_the_end(tmp_path):
    parts = Parts(tmp_path, 35, WINDOW, 0)
    parts.next_for_writer(15, wait=0)
    assert [parts.claim(), parts.claim(), parts.claim()] == [2, 3, None]
    parts.release(3)
    parts.close()
    assert parts.claim() is None
