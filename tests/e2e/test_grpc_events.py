"""Events of containerd's API: topics, types and fields, by a gRPC client of our own."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from typing import TYPE_CHECKING, Any

import pytest
from daemon import wait_until
from gateway_api import CONTAINERS, EVENTS, Api, packed_spec, serving
from test_grpc_leases import SNAPSHOTS, put
from test_grpc_records import IMAGES, NAMESPACES, image

from transport.grpc.interface import message

if TYPE_CHECKING:
    from pathlib import Path

    from daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]


def topics(seen: list[tuple[str, Any]], last: str) -> dict[str, Any]:
    """By topic, once the last one has come."""
    wait_until(f"{last} comes", lambda: any(topic == last for topic, _ in seen))
    return {topic: body for topic, body in seen if not topic.startswith("/own/")}


def test_of_a_life_with_an_exec_and_a_pause(api: Api, root: Path):
    seen = api.heard('topic~="^/(tasks|containers)/"')
    name = api.container(root, "sleep", "1000")
    api.task("Create", container_id=name)
    pid = api.task("Start", container_id=name).pid
    process = {"args": ["sh", "-c", "exit 3"], "cwd": "/", "env": ["PATH=/bin"]}
    api.task("Exec", container_id=name, exec_id="one", spec=packed_spec(process, "Process"))
    api.task("Start", container_id=name, exec_id="one")
    api.task("Wait", container_id=name, exec_id="one")
    api.task("Pause", container_id=name)
    api.task("Resume", container_id=name)
    api.end(name)
    found = topics(seen, "/containers/delete")
    order = [topic for topic, _ in seen if topic.startswith(("/tasks", "/containers"))]
    assert order == [
        "/containers/create", "/tasks/create", "/tasks/start", "/tasks/exec-added", "/tasks/exec-started",
        "/tasks/exit", "/tasks/paused", "/tasks/resumed", "/tasks/exit", "/tasks/delete",
        "/containers/delete",
    ]  # fmt: skip
    assert (found["/tasks/create"].pid, found["/tasks/start"].pid) == (pid, pid)
    assert found["/tasks/create"].bundle
    first = next(body for topic, body in seen if topic == "/tasks/exit")
    assert (first.container_id, first.id, first.exit_status) == (name, "one", 3)
    last = found["/tasks/exit"]
    assert (last.id, last.pid, last.exit_status) == (name, pid, 137)
    assert (found["/tasks/delete"].exit_status, found["/tasks/delete"].exited_at) == (137, last.exited_at)
    assert found["/containers/create"].runtime.name == "io.containerd.runc.v2"


def test_of_images_snapshots_and_namespaces(api: Api):
    seen = api.heard('topic~="^/(images|snapshot|namespaces|content)/"')
    name = f"x{secrets.token_hex(4)}"
    digest = put(api, **{"containerd.io/gc.root": "1"})
    api.ask(IMAGES, "Create", image=image(name, digest, {"a": "b"}))
    api.ask(IMAGES, "Update", image=image(name, digest, {"c": "d"}), update_mask={"paths": ["labels"]})
    api.ask(IMAGES, "Delete", name=name)
    labels = {"containerd.io/gc.root": "1"}
    api.ask(SNAPSHOTS, "Prepare", snapshotter="overlayfs", key=name, labels=labels)
    api.ask(SNAPSHOTS, "Commit", snapshotter="overlayfs", key=name, name=f"{name}2", labels=labels)
    api.ask(SNAPSHOTS, "Remove", snapshotter="overlayfs", key=f"{name}2")
    made = message("containerd.services.namespaces.v1.Namespace")(name=name, labels={"e": "f"})
    api.ask(NAMESPACES, "Create", namespace=made)
    api.ask(NAMESPACES, "Update", namespace=made)
    api.ask(NAMESPACES, "Delete", name=name)
    found = topics(seen, "/namespaces/delete")
    assert (found["/images/create"].name, dict(found["/images/create"].labels)) == (name, {"a": "b"})
    assert dict(found["/images/update"].labels) == {"c": "d"}
    assert found["/images/delete"].name == name
    assert found["/snapshot/prepare"].key == name
    assert (found["/snapshot/commit"].key, found["/snapshot/commit"].name) == (name, f"{name}2")
    assert found["/snapshot/remove"].key == f"{name}2"
    assert dict(found["/namespaces/create"].labels) == {"e": "f"}
    assert found["/namespaces/delete"].name == name


def test_a_filter_takes_a_topic_and_a_namespace(api: Api, root: Path):
    seen = api.heard("namespace==default,topic==/containers/create")
    other = api.within(namespace="elsewhere")
    elsewhere, here = other.container(root, "true"), api.container(root, "true")
    assert topics(seen, "/containers/create")["/containers/create"].id == here
    other.ask(CONTAINERS, "Delete", id=elsewhere)
    api.ask(CONTAINERS, "Delete", id=here)


def test_an_envelope_has_the_bare_name_of_its_type(api: Api, root: Path):
    stream = api.stream(EVENTS, "Subscribe", limit=60, filters=["topic==/containers/create"])
    made: list[str] = []

    def told() -> str:
        made.append(api.container(root, "true"))
        return made[-1]

    names = {told() for _ in range(1)}
    for _ in range(50):  # a subscription begins at some time
        names.add(told())
        if len(names) > 5:
            break
    envelope = next(iter(stream))
    assert envelope.event.type_url == "containerd.events.ContainerCreate"
    assert envelope.namespace == "default"
    assert envelope.timestamp.seconds > 0
    stream.cancel()
    for name in made:
        api.ask(CONTAINERS, "Delete", id=name)


def test_a_creation_is_told_and_has_an_actor_though_metadata_dies_over_it(tmp: Path, root: Path):
    """Between the record, which is durable, and what follows it."""
    with serving(tmp, "--failpoints") as (daemon, api):
        seen = api.heard('topic~="^/containers/create"')
        with daemon.client_in_use() as client:
            kill = {"name": "metadata.create.recorded", "action": "kill(count=1)"}
            client.request("failpoints.set", kill, to="metadata")
        name = api.container(root, "true")
        assert topics(seen, "/containers/create")["/containers/create"].id == name
        api.task("Create", container_id=name)
        api.task("Start", container_id=name)
        api.end(name)
        assert [topic for topic, _ in seen].count("/containers/create") == 1


def test_whoever_hangs_is_asked_together_with_everybody_else(tmp: Path, root: Path):
    """For the ends that a subscriber has missed: one after the other would be one's patience for each."""
    with serving(tmp) as (daemon, api), daemon.client_in_use() as client:
        names = [api.container(root, "sleep", "1000") for _ in range(3)]
        for name in names:
            api.task("Create", container_id=name)
            api.task("Start", container_id=name)
        pids = [one["pid"] for one in daemon.actors().values() if one["kind"] == "container"]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            stream = api.stream(EVENTS, "Subscribe")
            wait_until(
                "all of them are asked",
                lambda: client.request("router.traffic", {}, to="router")["waiting"].get("container") == 3,
            )
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):  # replaced meanwhile
                    os.kill(pid, signal.SIGCONT)
        stream.cancel()
        for name in names:
            api.end(name)


def test_who_hears_nothing_and_vanishes_frees_its_place(gateway: Daemon):
    """No event comes to wake those who waited for one."""

    def followers() -> float:
        with gateway.client_in_use() as client:
            return float(
                client.request("metrics.figures", {}, to="events")["levels"].get("event_followers", 0)
            )

    before = followers()
    vanishing = Api.at(gateway.state / "containerd.sock")
    streams = [vanishing.stream(EVENTS, "Subscribe", limit=None, filters=["topic==/none"]) for _ in range(20)]
    wait_until("all of them follow", lambda: followers() == before + len(streams))
    for stream in streams:
        stream.cancel()
    wait_until("nobody does", lambda: followers() == before)
    vanishing.channel.close()
