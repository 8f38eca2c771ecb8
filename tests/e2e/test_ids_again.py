"""The id of a container that is gone may be another's at once, while the actor of the first still lingers."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

import pytest
from daemon import wait_until

from cli.session import RefusedError, Session

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = pytest.mark.root


def test_the_bundle_of_the_next_one_is_not_removed_with_the_last(daemon: Daemon, busybox: str):
    identity = uuid.uuid4().hex
    body = {
        "namespace": "default",
        "image": busybox,
        "id": identity,
        "options": {"args": ["sh", "-c", "sleep 0.2; exit 3"]},
        "wanted": "running",
        "auto_remove": True,
    }
    session = Session(str(daemon.state / "actord.sock"), "default")

    def created():
        with contextlib.suppress(RefusedError):
            return session.ask_once("metadata", "containers.create", body)

    with contextlib.closing(session):
        for _ in range(3):
            made = wait_until("the id is free", created)
            answer = session.ask(made["actor"], "tasks.wait", {})
            assert answer["exit_code"] == 3
