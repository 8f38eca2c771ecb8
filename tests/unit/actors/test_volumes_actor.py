"""The volumes actor in its process: what it refuses is an answer, and not its end."""

from __future__ import annotations

import pytest
from actor_town import LIMIT, Town

from actors.actor import Actor
from actors.volumes import VolumesActor
from transport.errors import RemoteError


class Metadata(Actor):
    """Of which it asks who uses what."""

    kind = "metadata"

    def containers_list(self, _body, _call):
        return {"containers": []}


@pytest.mark.parametrize(("namespace", "name"), [("default", "."), ("default", ""), ("..", "data")])
def test_a_name_that_is_none_is_refused_when_it_is_to_be_removed(tmp, namespace, name):
    with Town(tmp) as town:
        volumes = town.actor(VolumesActor)
        town.actor(Metadata)
        client = town.client()
        with pytest.raises(RemoteError, match="is not valid") as caught:
            client.request(
                "volumes.remove", {"namespace": namespace, "name": name}, to="volumes", limit=LIMIT
            )
        assert caught.value.code == "invalid_argument"
        assert client.request("volumes.list", {"namespace": ""}, to="volumes", limit=LIMIT) == {"volumes": []}
        assert [one["op"] for one in volumes.said] == ["ready"]
