"""Control groups that callers name: what can be none is refused, since nobody could remove it again."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from actors.runtime import raw_bundle
from actors.runtime.composing import cgroup_parent
from actors.runtime.errors import InvalidSpecError
from actors.runtime.wishes import Wishes


@pytest.mark.parametrize("name", ["own", "/", "/a/../b", "/a\0b"])
def test_of_a_parent(name: str):
    with pytest.raises(InvalidSpecError, match="is not of the form /name"):
        cgroup_parent(Wishes(cgroup_parent=name))
    assert cgroup_parent(Wishes(cgroup_parent="/own/deep")) == "/own/deep"


def _foreign(name: str) -> dict[str, Any]:
    spec = {"process": {"args": ["true"]}, "linux": {"cgroupsPath": name}}
    return {"spec": {"value": base64.b64encode(json.dumps(spec).encode()).decode()}}


@pytest.mark.parametrize("name", ["/", "/a/../b", "/a\0b"])
def test_of_a_client_of_containerds_api(name: str):
    with pytest.raises(InvalidSpecError, match="names no group of its own"):
        raw_bundle.foreign(_foreign(name), "/default/one", mounted=False)
    found = raw_bundle.foreign(_foreign("own/deep"), "/default/one", mounted=False)
    assert found["linux"]["cgroupsPath"] == "/own/deep"
