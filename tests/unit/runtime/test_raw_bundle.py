"""Specifications that others bring: what of them would be our mistake is refused as theirs."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from actors.runtime import raw_bundle
from actors.runtime.errors import InvalidSpecError

GOOD: dict[str, Any] = {"process": {"args": ["true"]}, "root": {"path": "root"}, "linux": {}, "mounts": None}
SHAPELESS: tuple[dict[str, Any], ...] = (
    {"root": "x"},
    {"linux": [5]},
    {"linux": {"namespaces": ["pid"]}},
    {"linux": {"namespaces": {"type": "pid"}}},
    {"mounts": "x"},
    {"mounts": ["x"]},
    {"annotations": ["x"]},
    {"process": ["true"]},
)


def _foreign(spec: Any) -> dict[str, Any]:
    value = base64.b64encode(json.dumps(spec).encode()).decode()
    return raw_bundle.foreign({"spec": {"value": value}}, "/own", mounted=True)


def test_one_of_a_client_is_run_as_it_is():
    assert _foreign({**GOOD, "own": 1}) == {
        **GOOD, "own": 1, "root": {"path": "rootfs"}, "linux": {"cgroupsPath": "/own"},
    }  # fmt: skip


@pytest.mark.parametrize("part", SHAPELESS, ids=str)
def test_what_we_look_into_has_the_shape_that_it_should(part: dict[str, Any], tmp: Any):
    with pytest.raises(InvalidSpecError, match=f"{next(iter(part))}.* is not "):
        _foreign({**GOOD, **part})
    (tmp / "root").mkdir()
    (tmp / "config.json").write_text(json.dumps({**GOOD, **part}))
    with pytest.raises(InvalidSpecError, match=f"{next(iter(part))}.* is not "):
        raw_bundle.load(str(tmp), "/own")


@pytest.mark.parametrize("spec", [[], None, "x", {}, {"process": None}, {"process": {"args": []}}], ids=str)
def test_what_is_none_is_refused(spec: Any):
    with pytest.raises(InvalidSpecError, match="container: its specification"):
        _foreign(spec)


@pytest.mark.parametrize("path", ["/", "..", "/a/../b", "/a\0b"])
def test_a_cgroup_has_a_name(path: str):
    with pytest.raises(InvalidSpecError, match=r"linux\.cgroupsPath .* names no group of its own"):
        _foreign({**GOOD, "linux": {"cgroupsPath": path}})
