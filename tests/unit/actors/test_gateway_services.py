"""The services' methods, and what they make of a client's options."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import inspect
from types import SimpleNamespace

import pytest

from actors import messages as m
from actors.call import BEGUN
from actors.gateway import daemon, events, runc_options
from actors.gateway.containers import _change
from actors.gateway.events import MOST, TYPES, Events, _exits, filled
from actors.gateway.services import all_of
from actors.gateway.tasks import Tasks
from actors.gateway.translation import Asking
from actors.metadata import _options
from storage.errors import StorageError
from storage.image.platform import Platform
from storage.metadata import Container
from transport.client import NotRunningError
from transport.errors import RemoteError
from transport.grpc import interface
from transport.grpc.interface import message
from transport.grpc.server import WORKERS, snake

OPTIONS = "containerd.runc.v1.Options"


@pytest.mark.parametrize("service", all_of(None, None), ids=lambda one: one.name)
def test_every_method_of_a_service_is_one_of_its_interface(service):
    """One whose name is not found there would never be called."""
    known = {snake(name) for name in interface.methods(service.name)}
    public = {
        name for name, _ in inspect.getmembers(type(service), inspect.isfunction) if not name.startswith("_")
    }
    assert public - {"ask", "ask_once", "do_once", "ask_owner", "announce", "appear", "is_gone"} <= known


@pytest.mark.parametrize("settled", [True, False])
def test_an_end_is_told_as_soon_as_it_is_on_record(settled):
    """Its actor may not have heard yet that it is in the journal, of which who subscribes takes the end."""
    task = {"status": "stopped", "exited_at": 5}
    one = {"id": "a", "namespace": "n", "task": task, "actor": "container/n/a"}
    state = {"phase": "exited", "settled": settled, "pid": 7, "exit_code": 3, "known": True, "execs": {}}
    told = [found["body"] for found in _exits(one, {**state, "exited_at": 5})]
    assert [(body["id"], body["exit_status"], body["exited_at"]) for body in told] == [("a", 3, 5)]
    assert not list(_exits(one, {**state, "exited_at": 6})), "of another run, not durable yet"
    assert not list(_exits({**one, "task": None}, {**state, "exited_at": 6}))


class _HungUp:
    """Our client, whose connection goes before it has asked anything."""

    def __init__(self, _address):
        self.hang_up = self.close = lambda: None

    def stream(self, *_args, **_more):
        raise NotRunningError("the client has hung up")


def _subscribed(monkeypatch, *, active):
    monkeypatch.setattr(events, "Client", _HungUp)
    service = Events(SimpleNamespace(settings=SimpleNamespace(router_socket="/no")), None)
    call = SimpleNamespace(active=active, when_over=lambda function: function())
    return list(service.subscribe(SimpleNamespace(filters=[]), call))


def test_who_subscribes_and_goes_at_once_is_no_error(monkeypatch):
    assert _subscribed(monkeypatch, active=False) == []


def test_who_subscribes_while_the_router_is_away_may_try_again(monkeypatch):
    with pytest.raises(RemoteError, match="hung up") as raised:
        _subscribed(monkeypatch, active=True)
    assert raised.value.code == "unavailable"


def test_those_who_follow_events_leave_threads_to_others():
    service = Events(None, None)
    with contextlib.ExitStack() as followers:
        for _ in range(MOST):
            followers.enter_context(service._place())
        with pytest.raises(RemoteError, match="follow events already") as raised:
            followers.enter_context(service._place())
        assert raised.value.code == "overloaded"
    with service._place():
        assert MOST < WORKERS


@pytest.mark.parametrize("phase", ["created", "preparing", "starting", "removing", "gone"])
def test_there_is_no_task_before_it_is_made_nor_while_its_container_is_removed(phase, monkeypatch):
    """One that is on its way out would be shown as a stopped process without a pid."""
    monkeypatch.setattr("actors.gateway.tasks.record", lambda *_: {"actor": "container/n/a"})
    monkeypatch.setattr("actors.gateway.tasks.ask_container", lambda *_, **__: {"phase": phase})
    wanted = message("containerd.services.tasks.v1.GetRequest")(container_id="a")
    with pytest.raises(RemoteError, match='task "a" in namespace "n": not found') as raised:
        Tasks(None, None).get(wanted, SimpleNamespace(namespace="n", limit=1.0))
    assert raised.value.code == "not_found"


@pytest.mark.parametrize("exec_id", ["", "one"])
def test_a_process_that_ends_while_it_is_to_be_killed_is_not_found(exec_id, monkeypatch):
    def ended_since(*_args, **_more):
        raise RemoteError("failed_precondition", "container a is not running; see actr ps -a")

    tasks = Tasks(None, None)
    state = {"phase": "running", "execs": {"one": {"phase": "running"}}}
    monkeypatch.setattr(tasks, "_task", lambda *_: ("container/n/a", state))
    monkeypatch.setattr(tasks, "ask", ended_since)
    wanted = message("containerd.services.tasks.v1.KillRequest")(container_id="a", exec_id=exec_id, signal=9)
    with pytest.raises(RemoteError, match="process already finished") as raised:
        tasks.kill(wanted, SimpleNamespace(limit=1.0))
    assert raised.value.code == "not_found"


@pytest.mark.parametrize("phase", ["added", "starting"])
def test_a_process_that_is_still_to_start_is_not_said_to_have_finished(phase, monkeypatch):
    """Whoever ends an exec takes not_found for its end, and it would run."""
    tasks, wanted = Tasks(None, None), message("containerd.services.tasks.v1.KillRequest")
    state = {"phase": "running", "execs": {"one": {"phase": phase}}}
    monkeypatch.setattr(tasks, "_task", lambda *_: ("container/n/a", state))
    with pytest.raises(RemoteError, match="process one has not been started") as raised:
        tasks.kill(wanted(container_id="a", exec_id="one", signal=9), SimpleNamespace(limit=1.0))
    assert raised.value.code == "failed_precondition"


@pytest.mark.parametrize("exec_id", ["", "one"])
@pytest.mark.parametrize(("phase", "code"), [("running", ""), ("exited", "not_found")])
def test_signal_0_asks_whether_there_is_a_process(phase, code, exec_id, monkeypatch):
    """As kill(2) has it: nothing is sent to anybody."""
    tasks, sent = Tasks(None, None), []
    state = {"phase": phase, "execs": {"one": {"phase": phase}}}
    monkeypatch.setattr(tasks, "_task", lambda *_: ("container/n/a", state))
    monkeypatch.setattr(tasks, "ask", lambda *args, **_: sent.append(args))
    wanted = message("containerd.services.tasks.v1.KillRequest")(container_id="a", exec_id=exec_id)
    with pytest.raises(RemoteError) if code else contextlib.nullcontext() as raised:
        tasks.kill(wanted, SimpleNamespace(limit=1.0))
    assert (raised.value.code if raised else "", sent) == (code, [])


@pytest.mark.parametrize("path", ["spec", "extensions.one", "image", "snapshotkey"])
def test_of_a_container_of_the_other_api_only_labels_change(path):
    """It would be taken for one that its client describes: no list of its namespace could be made again."""
    given = message("containerd.services.containers.v1.Container")(id="a", labels={"x": "y"})
    known = {"id": "a", "options": {"args": ["true"]}}
    with pytest.raises(RemoteError, match="was not created by this API") as raised:
        _change("n", known, given, ["labels.x", path])
    assert raised.value.code == "failed_precondition"
    assert _change("n", known, given, ["labels.x"]) == m.ContainersUpdate(
        "n", "a", labels={"x": "y"}, fields=["labels.x"]
    )


def _on_record(options):
    return Container("n", "a", "web", "", "", "", "", "", options, {}, 1, 1, "stopped", auto_remove=False)


def _extended(**values):
    """A container with these extensions, as a client gives it."""
    packed = {
        key: message("google.protobuf.Any")(type_url="own", value=value) for key, value in values.items()
    }
    return message("containerd.services.containers.v1.Container")(id="a", extensions=packed)


def test_what_is_described_at_the_same_time_is_all_on_record():
    """Each has read the record before the other wrote; so has the container's actor, for its own options."""
    empty = {"type_url": "", "value": ""}
    known = _on_record({"foreign": {"spec": empty, "extensions": {}}})
    given = _extended(one=b"1", two=b"2")
    given.spec.type_url = "own"
    stale = {"id": "a", "options": known.options}
    changes = [_change("n", stale, given, [path]) for path in ("extensions.one", "spec", "extensions.two")]
    changes.append(m.ContainersUpdate("n", "a", options={**known.options, "memory": 5}))
    for one in changes:
        known = dataclasses.replace(known, options=_options(known, one))
    foreign = known.options["foreign"]
    assert (sorted(foreign["extensions"]), foreign["spec"]["type_url"]) == (["one", "two"], "own")
    assert known.options["memory"] == 5
    assert _options(known, m.ContainersUpdate("n", "a", labels={"x": "y"})) is None
    replaced = _options(known, _change("n", stale, _extended(last=b"3"), ["extensions"]))
    assert list(replaced["foreign"]["extensions"]) == ["last"]


def test_what_no_client_has_described_cannot_be_described_anew():
    plain = _on_record({"args": ["true"]})
    for change in ({"described": {"spec": {}}}, {"extensions": {"a": {}}}):
        with pytest.raises(StorageError, match="container web was not described"):
            _options(plain, m.ContainersUpdate("n", "a", **change))
    assert _options(plain, m.ContainersUpdate("n", "a", options={"args": ["id"]})) == {"args": ["id"]}


def _told(events, **envelope):
    """Publish, or forward what has a namespace; what the journal is given."""
    journalled = []
    events.ask = lambda _, body: journalled.append(body)
    call = SimpleNamespace(namespace="n")
    if "namespace" in envelope:
        given = message("containerd.services.events.v1.ForwardRequest")(envelope=envelope)
        events.forward(given, call)
    else:
        events.publish(message("containerd.services.events.v1.PublishRequest")(**envelope), call)
    return journalled


@pytest.mark.parametrize(
    "topic", ["", "x", "/", "//", "/x/", "/x//y", "/a b", "/x/é", "/-x", "/x/_y", "/x\n", f"/{'a' * 77}"]
)
def test_a_topic_is_made_of_identifiers(topic):
    """Who subscribes splits it at its slashes, and filters by its parts."""
    for more in ({}, {"namespace": "n", "timestamp": {"seconds": 5}}):
        with pytest.raises((RemoteError, StorageError), match="topic") as raised:
            _told(Events(None, None), topic=topic, **more)
        assert raised.value.code == "invalid_argument"


def test_an_event_of_elsewhere_says_where_and_when_it_happened():
    told = {"topic": "/x/y-z.1", "namespace": "n", "timestamp": {"seconds": 5, "nanos": 6}}
    [body] = _told(Events(None, None), **told)
    assert (body.topic, body.namespace, body.at) == ("/x/y-z.1", "n", 5 * 10**9 + 6)
    wrong = [{"namespace": ""}, {"namespace": "a b"}, {"timestamp": None}]
    wrong += [{"timestamp": {"seconds": seconds}} for seconds in (-5, 2**62)]
    for one in wrong:
        with pytest.raises((RemoteError, StorageError)) as raised:
            _told(Events(None, None), **{**told, **one})
        assert raised.value.code == "invalid_argument"


def test_names_of_methods():
    names = ("CloseIO", "ListStream", "DeleteProcess", "ResizePty", "Check")
    assert [snake(name) for name in names] == [
        "close_io",
        "list_stream",
        "delete_process",
        "resize_pty",
        "check",
    ]


def _packed(**fields):
    value = message(OPTIONS)(**fields).SerializeToString()
    return message("google.protobuf.Any")(type_url=OPTIONS, value=value)


def _foreign(**fields):
    packed = _packed(**fields)
    plain = {"type_url": packed.type_url, "value": base64.b64encode(packed.value).decode()}
    return {"options": plain, "root": fields.get("root", "")}


NONE = message("google.protobuf.Any")()


def test_options_of_a_container_count_where_the_task_has_none():
    found = runc_options.for_task(NONE, _foreign(io_uid=5, io_gid=6, no_new_keyring=True))
    assert found == {"no_pivot": False, "no_new_keyring": True, "io_uid": 5, "io_gid": 6}
    found = runc_options.for_task(_packed(no_pivot_root=True), _foreign(io_uid=5))
    assert found == {"no_pivot": True, "no_new_keyring": False, "io_uid": 0, "io_gid": 0}
    assert runc_options.for_task(NONE, {}) == {}


@pytest.mark.parametrize("name", ["shim_cgroup", "systemd_cgroup"])
def test_what_cannot_be_had_is_refused_by_name(name):
    value = True if name == "systemd_cgroup" else "/x"
    with pytest.raises(RemoteError, match=f"runc option {name} is not there") as raised:
        runc_options.for_task(NONE, _foreign(**{name: value}))
    assert raised.value.code == "not_implemented"
    assert ("--exec-opt native.cgroupdriver=cgroupfs" in str(raised.value)) is (name == "systemd_cgroup")


@pytest.mark.parametrize("name", ["io.containerd.runsc.v1", "io.containerd.kata.v2", "/usr/bin/crun", "runc"])
def test_nothing_is_run_by_another_runtime_than_was_asked_for(name):
    with pytest.raises(RemoteError, match=f"runtime '{name}' is not there") as raised:
        runc_options.refuse_other_runtime(name)
    assert raised.value.code == "internal"


@pytest.mark.parametrize("name", ["", "io.containerd.runc.v2", "io.containerd.runc.v1"])
def test_runtimes_that_are_runc(name):
    assert runc_options.refuse_other_runtime(name) is None


def test_where_the_runtime_keeps_its_state():
    assert runc_options.root(_packed(root="/run/own")) == "/run/own"
    assert runc_options.root(NONE) == ""
    for wrong in ("own", "/run/../own", "/run/o\0wn"):
        with pytest.raises(RemoteError, match="is not an absolute path"):
            runc_options.root(_packed(root=wrong))
    with pytest.raises(RemoteError, match="is the container's"):
        runc_options.for_task(_packed(root="/other"), _foreign(root="/run/own"))


@pytest.mark.parametrize("name", TYPES.values())
def test_every_event_has_a_type(name):
    """A topic whose type is not declared would end the stream of whoever listens."""
    body = dict.fromkeys(("name", "key", "container_id", "id", "digest"), "x")
    assert filled(name, body).SerializeToString()


class Answers(Asking):
    """What is asked gets one of these after the other; an exception is raised."""

    def __init__(self, *answers):
        super().__init__(None, None)
        self.answers = list(answers)

    def ask(self, *_, **__):
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


class NoDeadline:
    limit = 30.0


LOST = RemoteError("unavailable", "actor metadata ended", outcome="unknown")
TAKEN = RemoteError("already_exists", "it is there")


def test_what_may_have_been_done_is_looked_for_and_then_asked_again():
    assert Answers(LOST, "done").ask_once(NoDeadline, None, lambda: None) == "done"
    assert Answers(LOST).ask_once(NoDeadline, None, lambda: "there") == "there"


def test_what_was_done_only_after_it_was_looked_for_is_no_error():
    found = iter([None, "there"])
    assert Answers(LOST, TAKEN).ask_once(NoDeadline, None, lambda: next(found)) == "there"


def test_what_somebody_else_had_before_is_refused():
    with pytest.raises(RemoteError, match="it is there"):
        Answers(TAKEN).ask_once(NoDeadline, None, lambda: "there")


@pytest.mark.parametrize(
    ("details", "code", "text"),
    [
        ({BEGUN: True}, "internal", "cannot start a running process"),
        ({"exit_code": 127}, "internal", "OCI runtime start failed: cannot start a running process"),
        ({}, "failed_precondition", "cannot start a running process"),
    ],
)
def test_a_second_start_is_to_these_clients_what_containerd_says(details, code, text):
    """Which has no code for it: UNKNOWN."""
    tasks = Tasks(None, None)

    def refused(*_):
        raise RemoteError("failed_precondition", "cannot start a running process", details=details)

    tasks._of_task = refused
    with pytest.raises(RemoteError) as raised:
        tasks.start(SimpleNamespace(container_id="a", exec_id=""), None)
    assert (raised.value.code, str(raised.value)) == (code, text)


@pytest.mark.parametrize(
    ("host", "variant"), [(("amd64", "v4"), ""), (("arm64", "v8"), "v8"), (("arm", "v7"), "v7")], ids=str
)
def test_a_plugin_is_of_a_platform_and_not_of_a_level_of_it(monkeypatch, host, variant):
    monkeypatch.setattr(daemon, "host_platform", lambda: Platform("linux", *host))
    asked = message("containerd.services.introspection.v1.PluginsRequest")(filters=["id==overlayfs"])
    [plugin] = daemon.Introspection(None, None).plugins(asked, None).plugins
    assert [(one.architecture, one.variant) for one in plugin.platforms] == [(host[0], variant)]
