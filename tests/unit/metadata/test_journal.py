import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidArgumentError
from storage.journal import MAX_READ, Event, Journal, NewEvent


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path / "events.db")
    yield opened
    assert opened.check() == ()
    opened.close()


def fill(journal, count, namespace="ns"):
    journal.append_many([NewEvent(namespace, "/tasks/exit", {"n": n}, n) for n in range(count)])


def seqs(events):
    return [event.seq for event in events]


def test_empty(journal):
    assert (journal.first_seq, journal.last_seq) == (1, 0)
    assert journal.read(0, 10) == ()
    assert journal.missed(0) == 0


def test_append_and_read(journal):
    assert journal.append("ns", "/tasks/exit", "k", {"code": 7}, 123) == (1, True)
    assert journal.append("", "/tasks/oom", None, {}, 124) == (2, True)
    assert journal.read(0, 10) == (
        Event(1, "ns", "/tasks/exit", "k", {"code": 7}, 123),
        Event(2, "", "/tasks/oom", None, {}, 124),
    )
    assert seqs(journal.read(1, 10)) == [2]
    assert seqs(journal.read(0, 1)) == [1]
    assert journal.read(2, 10) == ()


def test_a_key_is_announced_once(journal):
    assert journal.append("ns", "/t", "k", {"first": True}, 1) == (1, True)
    assert journal.append("ns", "/t", None, {}, 2) == (2, True)
    assert journal.append("ns", "/t", "k", {"first": False}, 3) == (1, False)
    assert journal.append("ns", "/t", None, {}, 4) == (3, True)
    assert journal.read(0, 1)[0].body == {"first": True}


def test_append_many_is_one_commit(journal):
    results = journal.append_many([NewEvent("ns", "/t", {}, 1, "a"), NewEvent("ns", "/t", {}, 1, "a")])
    assert results == ((1, True), (1, False))
    with pytest.raises(InvalidArgumentError):
        journal.append_many([NewEvent("ns", "/t", {}, 1), NewEvent("ns", "", {}, 1)])
    assert journal.last_seq == 1


@pytest.mark.parametrize("event", [
    NewEvent("ns", "", {}, 1), NewEvent("ns", "/t\n", {}, 1), NewEvent("ns", "/t", {}, 1, ""),
    NewEvent("ns", "/t", {"x": b"bytes"}, 1), NewEvent("ns", "/t", {"x": "y" * (4 << 20)}, 1),
])  # fmt: skip
def test_bad_events(journal, event):
    with pytest.raises(InvalidArgumentError):
        journal.append_many([event])


def test_filters(journal):
    fill(journal, 3, "a")
    fill(journal, 3, "b")
    assert seqs(journal.read(0, 10, namespace="b")) == [4, 5, 6]
    assert seqs(journal.read(0, 2, namespace="b")) == [4, 5]
    assert seqs(journal.read(0, 10, since_time=1)) == [2, 3, 5, 6]
    assert seqs(journal.read(3, 10, namespace="b", since_time=2)) == [6]


def test_limits_are_bounded(journal):
    fill(journal, MAX_READ + 5)
    assert len(journal.read(0, 10**9)) == MAX_READ
    assert journal.read(0, -1) == ()


def test_trim_leaves_a_gap_that_readers_see(journal):
    fill(journal, 10)
    assert journal.trim(4) == 6
    assert (journal.first_seq, journal.last_seq) == (7, 10)
    assert [journal.missed(after) for after in (0, 5, 6, 10)] == [6, 1, 0, 0]
    assert seqs(journal.read(0, 100)) == [7, 8, 9, 10]
    assert journal.trim(4) == 0


def test_numbers_are_never_used_twice(tmp_path, journal):
    fill(journal, 3)
    journal.trim(0)
    assert (journal.first_seq, journal.last_seq) == (4, 3)
    assert journal.missed(1) == 2
    again = Journal(tmp_path / "events.db")
    assert again.append("ns", "/t", None, {}, 1) == (4, True)
    again.close()
    with pytest.raises(InvalidArgumentError):
        journal.trim(-1)


def test_the_instance_belongs_to_the_file(tmp_path, journal):
    again, other = Journal(tmp_path / "events.db"), Journal(tmp_path / "other.db")
    assert again.instance == journal.instance
    assert other.instance != journal.instance
    again.close()
    other.close()


keys = st.none() | st.sampled_from("abc")


@given(st.lists(st.lists(keys, max_size=4) | st.integers(0, 5), max_size=8))
def test_agrees_with_a_plain_model(tmp_path_factory, steps):
    journal = Journal(tmp_path_factory.mktemp("model") / "events.db")
    kept: dict[int, str | None] = {}
    last = 0
    for step in steps:
        if isinstance(step, int):
            journal.trim(step)
            kept = {seq: key for seq, key in kept.items() if seq > last - step}
            continue
        for key, result in zip(
            step, journal.append_many([NewEvent("n", "/t", {}, 0, k) for k in step]), strict=True
        ):
            known = next((seq for seq, other in kept.items() if key is not None and other == key), None)
            if known is None:
                last += 1
                kept[last] = key
            assert result == ((last, True) if known is None else (known, False))
    assert {event.seq: event.key for event in journal.read(0, 1000)} == kept
    assert journal.last_seq == last
    assert journal.first_seq == min(kept, default=last + 1)
    journal.close()
