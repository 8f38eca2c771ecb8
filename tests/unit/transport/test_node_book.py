"""The book of nodes: what is entered stays, what was only begun does not count."""

from __future__ import annotations

import os

import pytest

from storage.errors import StorageError
from transport.keys import new_pair
from transport.nodes import NodeBook


def connection() -> dict[str, str]:
    pair = new_pair()
    return {
        "endpoint": "tcp://127.0.0.1:1",
        "server": new_pair().public,
        "public": pair.public,
        "secret": pair.secret,
    }


def test_a_node_that_was_only_being_entered_is_not_in_it(tmp_path, monkeypatch):
    """Every name in the book is looked up when the nodes actor starts."""
    book = NodeBook(tmp_path)
    book.join("h1", connection())

    def full(_descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="cannot enter node h2: no space left"):
        book.join("h2", connection())
    assert sorted(path.name for path in tmp_path.iterdir()) == [".h2.json", "h1.json"]
    assert NodeBook(tmp_path).names() == ["h1"]
