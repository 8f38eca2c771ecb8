"""Pages of the journal: what is done once for all followers, and what is in a page."""

from __future__ import annotations

import msgpack
import pytest

from actors.event_pages import MOST_BYTES, MOST_EVENTS, Filter, Pages
from storage.journal import Event

FOLLOWERS = 100


class Journal:
    """Events 1 to `last`; counts what is read of it, and how often an event is looked at."""

    def __init__(self, last, size=10):
        self.last, self.size = last, size
        self.read = self.looked_at = 0

    def after(self, number, most):
        found = [self.event(seq) for seq in range(number + 1, min(self.last, number + most) + 1)]
        self.read += len(found)
        return found

    def event(self, seq):
        return Event(
            seq, f"n{seq % 2}", f"/t{seq % 3}", None, Body(self, id=f"c{seq % 4}", text="x" * self.size), seq
        )


class Body(dict):
    def __init__(self, journal, **fields):
        super().__init__(fields)
        self.journal = journal

    def get(self, key, default=None):
        self.journal.looked_at += key == "id"
        return super().get(key, default)


@pytest.mark.parametrize("followers", [1, FOLLOWERS])
def test_followers_in_the_same_place_cost_as_much_as_one(followers):
    journal = Journal(300)
    pages = Pages(journal.after)
    found = [pages.after(0, 1000, Filter(container_id="c1")).gathered for _ in range(followers)]
    assert (journal.read, journal.looked_at) == (300, 300)
    assert all(one is found[0] for one in found)


def test_each_filter_is_asked_once_and_nothing_is_read_or_encoded_again():
    journal = Journal(300)
    pages = Pages(journal.after)
    wanted = [Filter(container_id=f"c{number % 4}") for number in range(FOLLOWERS)]
    found = [pages.after(0, 1000, one) for one in wanted]
    assert (journal.read, journal.looked_at) == (300, 4 * 300)
    everything = {one.event.seq: one for one in pages.after(0, 1000, Filter()).told}
    assert all(one is everything[one.event.seq] for page in found for one in page.told)


def test_one_who_is_behind_is_read_for_by_itself():
    journal = Journal(1000)
    pages = Pages(journal.after)
    pages.after(990, 1000, Filter())
    assert journal.read == 10
    behind = pages.after(0, 1000, Filter())
    assert [one.event.seq for one in behind.told] == list(range(1, MOST_EVENTS + 1))
    assert journal.read == 10 + MOST_EVENTS


def test_what_is_appended_is_seen_once_it_is_said():
    journal = Journal(3)
    pages = Pages(journal.after)
    assert pages.after(3, 10, Filter()).last == 3
    journal.last = 5
    pages.renew()
    assert [one.event.seq for one in pages.after(3, 10, Filter()).told] == [4, 5]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Filter(), [1, 2, 3, 4, 5, 6, 7, 8]),
        (Filter(namespace="n1"), [1, 3, 5, 7]),
        (Filter(since=7), [7, 8]),
        (Filter(topic="/t1"), [1, 4, 7]),
        (Filter(container_id="c0"), [4, 8]),
        (Filter(namespace="n0", topic="/t2", container_id="c2"), [2]),
        (Filter(topic="/none"), []),
    ],
)
def test_a_page_has_what_is_wanted_and_reaches_as_far_as_was_looked(wanted, numbers):
    page = Pages(Journal(8).after).after(0, 100, wanted)
    assert [one.event.seq for one in page.told] == numbers
    assert page.last == 8
    gathered = msgpack.unpackb(page.gathered)
    assert gathered["numbers"] == numbers
    assert [msgpack.unpackb(one)["seq"] for one in gathered["events"]] == numbers


def test_a_page_ends_where_it_becomes_large():
    pages = Pages(Journal(20, size=MOST_BYTES // 4).after)
    first = pages.after(0, 100, Filter())
    assert [one.event.seq for one in first.told] == [1, 2, 3, 4]
    assert len(first.gathered) < 2 * MOST_BYTES
    assert pages.after(first.last, 100, Filter()).told[0].event.seq == 5


def test_what_is_kept_is_bounded():
    journal = Journal(10_000)
    pages = Pages(journal.after)
    for number in range(1000):
        pages.after(number, 1, Filter())
    assert len(pages._pages) <= 64
    assert len(pages._raw) <= 64
