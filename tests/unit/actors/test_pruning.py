"""What a prune removes while others come and go."""

from __future__ import annotations

import pytest

from actors import messages as m
from actors.upkeep import Upkeep
from transport.errors import RemoteError

NAMES = ("a", "b", "c")


class Owners:
    """In the place of the actor: containers and images of the same names; asked to remove `b`, it refuses."""

    def __init__(self, code):
        self.code = code

    def call(self, body, *, to="", limit=30.0):
        del limit
        match body:
            case m.ContainersList():
                return {"containers": [_stopped(name) for name in NAMES]}
            case m.NamespacesList():
                return {"namespaces": [{"name": "default"}]}
            case m.ImagesList():
                return {"images": [{"name": name, "target": {"digest": "sha256:0"}} for name in NAMES]}
        if "b" in (to, getattr(body, "name", "")):
            raise RemoteError(self.code, "as the test has it")
        return {}


def _stopped(name):
    task = {"status": "stopped"}
    return {"actor": name, "namespace": "default", "name": name, "task": task, "wanted": "stopped"}


EVERYTHING = m.SystemPrune(images=True, containers=True)


@pytest.mark.parametrize("code", ["not_found", "failed_precondition"])
def test_what_was_removed_or_started_meanwhile_is_passed_over(code):
    removed = Upkeep(Owners(code)).remove_unused(EVERYTHING)
    assert [(one["kind"], one["name"]) for one in removed] == [
        ("container", "a"),
        ("container", "c"),
        ("image", "a"),
        ("image", "c"),
    ]


def test_what_cannot_be_removed_is_an_error():
    with pytest.raises(RemoteError):
        Upkeep(Owners("unavailable")).remove_unused(EVERYTHING)
