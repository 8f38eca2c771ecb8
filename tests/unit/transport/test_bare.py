"""The system calls of the command line's start say what `os` would."""

from __future__ import annotations

import os
import posix

import pytest

from transport import bare


def test_variables(monkeypatch):
    monkeypatch.setenv("ACTR_SET", "ä\udcff")  # a byte that is no character
    monkeypatch.setenv("ACTR_EMPTY", "")
    monkeypatch.delenv("ACTR_UNSET", raising=False)
    assert posix.environ[b"ACTR_SET"] == "ä".encode() + b"\xff"
    assert [bare.variable(f"ACTR_{name}") for name in ("SET", "EMPTY", "UNSET")] == ["ä\udcff", "", ""]
    assert [bare.is_set(f"ACTR_{name}") for name in ("SET", "EMPTY", "UNSET")] == [True, True, False]


@pytest.mark.parametrize(
    "name", ["file", "dir", "to-file", "to-dir", "to-nothing", "nothing", "file/x", "\0"]
)
def test_what_a_path_is(tmp, name):
    (tmp / "file").write_text("")
    (tmp / "dir").mkdir()
    for what in ("file", "dir", "nothing"):
        (tmp / f"to-{what}").symlink_to(tmp / what)
    path = f"{tmp}/{name}"
    found = (bare.exists(path), bare.is_file(path), bare.is_directory(path))
    assert found == (os.path.exists(path), os.path.isfile(path), os.path.isdir(path))  # noqa: PTH110, PTH112, PTH113  # these are meant
