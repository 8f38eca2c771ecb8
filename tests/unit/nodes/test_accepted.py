"""Nodes that have joined this one, and what is remembered of nodes over a crash."""

import pytest

from actors.nodes.accepted import MOST_NAMES, Accepted
from actors.nodes.memory import Memory
from storage.errors import InvalidArgumentError
from transport.errors import RemoteError


def test_a_node_is_known_by_key_and_name():
    found = Accepted()
    one = found.visitor("k", "h1", 0.0)
    assert found.visitor("k", "h1", 5.0) is one
    assert found.visitor("other", "h1", 5.0) is not one
    with pytest.raises(InvalidArgumentError):
        found.visitor("k", "no/name", 0.0)


def test_one_key_claims_so_many_names_and_those_that_are_down_make_room():
    found = Accepted()
    for number in range(MOST_NAMES):
        found.visitor("k", f"h{number}", 0.0).vitals.heard(0.0)
    with pytest.raises(RemoteError, match="key k"):
        found.visitor("k", "more", 0.0)
    found.visitor("other", "more", 0.0)
    found.visitors["k", "h0"].vitals.look(1e6)
    found.visitor("k", "more", 1e6)
    assert ("k", "h0") not in found.visitors
    assert len(found.visitors) == MOST_NAMES + 1


def test_what_was_said_is_remembered_until_it_does_not_matter(tmp_path):
    path = tmp_path / "nodes.json"
    memory = Memory(path)
    for key, name, state in (("", "h2", "up"), ("k", "h3", "up"), ("k", "h4", "down"), ("", "h5", "down")):
        memory.said(key, name, state)
    assert Memory(path).known() == [("", "h2", "up"), ("k", "h3", "up"), ("", "h5", "down")]
    memory.forget("h2")
    assert ("", "h2", "up") not in Memory(path).known()


@pytest.mark.parametrize("text", ["", "{}", "[[1]]", '[["", "h2", "new"]]', "nonsense"])
def test_a_memory_that_cannot_be_read_is_none(tmp_path, text):
    (tmp_path / "nodes.json").write_text(text)
    assert Memory(tmp_path / "nodes.json").known() == []


def test_without_room_what_was_said_is_kept_in_mind_alone(tmp_path, caplog):
    """A full state directory ended the actor, and with it all links, at each change of a node."""
    memory = Memory(tmp_path / "gone" / "nodes.json")
    memory.said("", "h2", "up")
    memory.forget("h2")
    assert caplog.text.count("what was said of other nodes is not kept") == 2
    (tmp_path / "gone").mkdir()
    memory.said("", "h3", "up")
    assert Memory(tmp_path / "gone" / "nodes.json").known() == [("", "h3", "up")]
