"""The command line against a scripted daemon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from cli.main import main
from tests.unit.cli.fake_daemon import FakeDaemon

WEB_ID = "3f2a" * 16
WEB = {
    "namespace": "default",
    "id": WEB_ID,
    "name": "web",
    "image": "docker.io/library/busybox:latest",
    "actor": f"container/default/{WEB_ID}",
    "options": {"args": ["sleep", "60"]},
    "labels": {},
    "wanted": "running",
    "created_at": 1_000_000_000,
    "updated_at": 1_000_000_000,
    "task": {"status": "running", "pid": 4711, "started_at": 2_000_000_000, "exit_code": None},
}


@pytest.fixture
def daemon(tmp, monkeypatch, no_leaks):
    path = tmp / "actord.sock"
    found = FakeDaemon(path)
    monkeypatch.setenv("ACTORD_ADDRESS", str(tmp))
    monkeypatch.delenv("ACTORD_NAMESPACE", raising=False)
    found.answers("containers.get", WEB)
    yield found
    found.close()
    assert found.problems == []


@dataclass
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def actr(no_leaks, capfdbinary, monkeypatch):  # in this order: what captures is no leak
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*words: Any) -> Done:
        code = main([str(word) for word in words])
        out, err = capfdbinary.readouterr()
        return Done(code, out.decode("utf-8", "surrogateescape"), err.decode())

    return run
