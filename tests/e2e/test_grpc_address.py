"""The socket of containerd's API, when it cannot be had, and when it can again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from daemon import Daemon, running, wait_until
from gateway_api import Api, serving
from test_grpc_leases import LEASES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]


def said(daemon: Daemon, why: str) -> bool:
    """Whether the log has it, in one line."""
    return any("is not served at" in line and why in line for line in daemon.log.read_text().splitlines())


def leases(place: Path) -> list[str]:
    """What whoever serves it knows."""
    with contextlib.closing(Api.at(place).channel) as channel:
        return [one.id for one in Api(channel).ask(LEASES, "List").leases]


def test_a_directory_in_the_way_is_said_and_waited_out(tmp: Path):
    place = tmp / "s"
    place.mkdir()
    (tmp / "d").mkdir()
    with running(tmp / "d", "--grpc", str(place)) as daemon:
        wait_until("it is said why", lambda: said(daemon, f"{place}: what is there is not a socket"))
        place.rmdir()
        wait_until("it is served", place.is_socket)
        assert leases(place) == []
        assert "child_terminated" not in daemon.log.read_text()
        assert "Traceback" not in daemon.log.read_text()


def test_a_path_that_is_too_long_is_said(tmp: Path):
    with running(tmp, "--grpc", f"/tmp/{'x' * 120}") as daemon:
        wait_until("it is said why", lambda: said(daemon, "too long"))
        assert "Traceback" not in daemon.log.read_text()


def test_a_socket_is_not_taken_from_whoever_serves_it(tmp: Path):
    for name in ("a", "b"):
        (tmp / name).mkdir()
    with serving(tmp / "a") as (first, api):
        place = first.state / "containerd.sock"
        api.ask(LEASES, "Create", id="of-the-first")
        with running(tmp / "b", "--grpc", str(place)) as second:
            wait_until("it is said why", lambda: said(second, "listens there"))
            assert leases(place) == ["of-the-first"]
            first.stop()
            wait_until("the second one serves", lambda: place.is_socket() and leases(place) == [])
