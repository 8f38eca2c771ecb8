"""The oracle for specifications says no to what is wrong, whichever test's container it was made for."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.runtime_schema import violations_in

GOOD = {"ociVersion": "1.0.2", "process": {"cwd": "/", "args": ["true"]}, "root": {"path": "rootfs"}}


def test_each_specification_that_was_kept_is_held_to_the_schema(tmp: Path):
    (tmp / "default+one+1.json").write_text(json.dumps(GOOD))
    assert violations_in(tmp) == []
    (tmp / "default+two+2.json").write_text(json.dumps(GOOD | {"process": {"cwd": "/", "args": [1]}}))
    (found,) = violations_in(tmp)
    assert found.startswith("default+two+2.json: process/args/0: 1 is not of type 'string'")
