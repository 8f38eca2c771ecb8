"""Layers that the gateway writes for a client: what is left when nothing comes of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from actors import messages as m
from actors.gateway.diff import Diff
from storage.content import ContentStore
from storage.digest import Digest
from storage.errors import StorageError


@pytest.fixture
def diff(tmp_path):
    """Whose ingests are real; `dropped` are those that it wants no more, `committed` those that it does."""
    store, found = ContentStore(tmp_path / "content"), Diff(None, None)
    found.dropped, found.committed = [], []

    def ask(_, body):
        if isinstance(body, m.ContentOpen):
            return {"path": str(store.open_ingest(body.ref, expected=None, total=None, leased=False).path)}
        found.committed.append(body.ref)
        return {}

    found.ask = ask
    settings = SimpleNamespace(layers_total_bytes=1 << 20)
    found.actor = SimpleNamespace(settings=settings, asking=lambda body: found.dropped.append(body.ref))
    return found


def _layer(diff, tmp_path, *, active, ref, name="file"):
    """What comes of a diff of a directory with this file in it."""
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / name).write_text("x")
    call = SimpleNamespace(active=active, namespace="n", lease="")
    return diff._store(call, SimpleNamespace(ref=ref, labels={}), tmp_path / "top", "none")


def test_a_layer_is_committed(diff, tmp_path):
    made = _layer(diff, tmp_path, active=True, ref="own")
    assert Digest.parse(made["digest"])
    assert (diff.committed, diff.dropped) == (["own"], [])


def test_a_client_that_goes_is_not_worked_for(diff, tmp_path):
    with pytest.raises(StorageError, match="the client has gone"):
        _layer(diff, tmp_path, active=False, ref="own")
    assert (diff.committed, diff.dropped) == ([], []), "with what has a name of its own, it may go on"


def test_nothing_is_left_under_a_name_that_nobody_knows(diff, tmp_path):
    with pytest.raises(StorageError):
        _layer(diff, tmp_path, active=True, ref="", name=".wh.wrong")
    [dropped] = diff.dropped
    assert (dropped.startswith("diff-"), diff.committed) == (True, [])
