"""What a container's actor reports is newer than what was reported before, whatever the clock says."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from actors.lifecycle import State
from actors.reports import Reports


class _Actor(SimpleNamespace):
    """As much of a container's actor as reports need."""

    def ask(self, body: Any, _then: Any, **_: Any) -> None:
        self.asked.append(body)


def _reports(recorded: dict[str, Any] | None) -> tuple[Reports, list[Any]]:
    asked: list[Any] = []
    actor = _Actor(namespace="n", id="c", record={"task": recorded}, state=State("running"), asked=asked,
        health=SimpleNamespace(status=""))  # fmt: skip
    return Reports(actor), asked  # type: ignore[arg-type]


@pytest.mark.parametrize("recorded", [None, {"revision": 2**62}])
def test_a_report_is_newer_than_all_before_it_though_the_clock_went_back(
    monkeypatch: pytest.MonkeyPatch, recorded: dict[str, Any] | None
):
    reports, asked = _reports(recorded)
    for now in (10**18, 10**18 - 3600 * 10**9, 10**18, 5):
        monkeypatch.setattr(time, "time_ns", lambda now=now: now)
        reports.report()
    revisions = [body.revision for body in asked]
    assert revisions == sorted(set(revisions))
    assert revisions[0] > (recorded or {}).get("revision", 0)
