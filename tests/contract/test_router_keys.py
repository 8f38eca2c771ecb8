"""A router that cannot have keys of its own: those of this host have theirs all the same."""

from __future__ import annotations

import pytest
from actor_town import Town

pytestmark = pytest.mark.root


def test_damaged_keys_keep_nobody_of_this_host_out(tmp):
    town = Town(tmp, listen="tcp://127.0.0.1:0")
    town.settings.keys.mkdir()
    (town.settings.keys / "server.json").write_text("{")
    with town:
        assert "names" in town.client().request("router.peers", {}, to="router")
