"""Processes of containers: each method is one operation of a container's actor."""

import contextlib
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from actors import messages as m
from actors.call import BEGUN
from actors.gateway import runc_options
from actors.gateway.containers import ask_container, record
from actors.gateway.task_metrics import measured
from actors.gateway.translation import PAUSE, Asking, parsed, put_time
from actors.gateway.waiting import Waiting
from actors.overview import RUNNING as RUNNING_STATUS
from actors.paging import everything
from storage.filters import parse_filters
from transport.errors import RemoteError
from transport.grpc.interface import message
from transport.grpc.server import Answer, Call, Service, answers_later

_PACKAGE: Final = "containerd.services.tasks.v1"
_EMPTY: Final = "google.protobuf.Empty"
CREATED, RUNNING, STOPPED, PAUSED = 1, 2, 3, 4
UNKNOWN_STATUS: Final = 255  # of a process of which nobody can know how it ended


class Tasks(Asking, Service):
    """containerd.services.tasks.v1.Tasks."""

    name = f"{_PACKAGE}.Tasks"

    def create(self, request: Any, call: Call) -> Any:
        """Make its process; the program is held."""
        found = record(self, call, request.container_id)
        if request.checkpoint.digest:
            raise RemoteError("not_implemented", "checkpoints are not there yet")
        foreign = found["options"].get("foreign") or {}
        runc_options.refuse_other_runtime(foreign.get("runtime", ""))
        _refuse_log_of_terminal(request)
        body = m.TasksCreate(
            [
                {"type": one.type, "source": one.source, "options": list(one.options)}
                for one in request.rootfs
            ],
            request.stdin,
            request.stdout,
            request.stderr,
            terminal=request.terminal,
            token=_token(),
            updated_at=found["updated_at"],
            **runc_options.for_task(request.options, foreign),
        )
        with _as_runtime("failed to create shim task: OCI runtime create failed"):
            pid = ask_container(self, call, found["id"], body, found=found)["pid"]
        return message(f"{_PACKAGE}.CreateTaskResponse")(container_id=found["id"], pid=pid)

    def start(self, request: Any, call: Call) -> Any:
        """Let it run, or start an exec."""
        body = m.TasksExecStart(request.exec_id, _token()) if request.exec_id else m.TasksLetRun(_token())
        with _as_runtime(f"OCI runtime {'exec' if request.exec_id else 'start'} failed"):
            pid = self._of_task(call, request.container_id, body)["pid"]
        return message(f"{_PACKAGE}.StartResponse")(pid=pid)

    def delete(self, request: Any, call: Call) -> Any:
        """Take note of its end."""
        found = self._of_task(call, request.container_id, m.TasksDelete(_token()))
        return _deleted(request.container_id, found)

    def delete_process(self, request: Any, call: Call) -> Any:
        """Take note of the end of an exec; one that has never been started ends with 0."""
        actor, state = self._task(call, request.container_id)
        one = _exec(state, request.exec_id)
        if one["phase"] in ("starting", "running"):
            raise RemoteError(
                "failed_precondition", f"process {request.exec_id} must be stopped before deletion"
            )
        body = m.TasksExecDelete(request.exec_id, strict=True)
        self.ask_once(call, body, lambda: self._is_forgotten(call, request), to=actor)
        ended = {**one, "exit_code": 0} if one["phase"] == "added" else one
        return _deleted(request.exec_id, ended)

    def _is_forgotten(self, call: Call, request: Any) -> bool | None:
        _, state = self._task(call, request.container_id)
        return request.exec_id not in state["execs"] or None

    def get(self, request: Any, call: Call) -> Any:
        """How a process is."""
        _, state = self._task(call, request.container_id)
        make = message(f"{_PACKAGE}.GetResponse")
        if request.exec_id:
            one = _exec(state, request.exec_id)
            return make(process=_exec_process(request.container_id, request.exec_id, one))
        return make(process=_init_process(request.container_id, state))

    def list(self, request: Any, call: Call) -> Any:
        """All that have a process; from the records, so that no actor that hangs can hold it up."""
        del request
        body = m.ContainersList(call.namespace, brief=True)
        found = everything(partial(self.ask_owner, call), body, "containers")
        kinds = {"created": CREATED, "running": RUNNING, "paused": PAUSED, "stopped": STOPPED}
        make = message("containerd.v1.types.Process")
        tasks = []
        for one in found:
            task = one["task"]
            if task is None or (task["status"] == "created" and not task["pid"]):
                continue
            process = make(
                container_id=one["id"], id=one["id"], pid=task["pid"], status=kinds.get(task["status"], 0)
            )
            if task["status"] == "stopped":
                _put_end(process, task)
            tasks.append(process)
        return message(f"{_PACKAGE}.ListTasksResponse")(tasks=tasks)

    def kill(self, request: Any, call: Call) -> Any:
        """Signal a process; one that has ended is not found. Signal 0 only asks whether it has.

        Asked once more when the actor dies: between sending it and saying so, a signal may come twice.
        """
        until = time.monotonic() + call.limit
        while True:
            try:
                return self._kill(request, call)
            except RemoteError as error:
                if not error.retryable or time.monotonic() > until:
                    raise
                time.sleep(PAUSE)

    def _kill(self, request: Any, call: Call) -> Any:
        actor, state = self._task(call, request.container_id)
        phase = _exec(state, request.exec_id)["phase"] if request.exec_id else state["phase"]
        if phase in ("added", "starting"):  # it is about to run: a client would take it for finished
            raise RemoteError("failed_precondition", f"process {request.exec_id} has not been started")
        finished = RemoteError("not_found", "process already finished: not found")
        if phase != "running":
            raise finished
        if not request.signal:
            return message(_EMPTY)()
        try:
            self.ask(call, m.TasksKill(request.signal, request.exec_id, request.all), to=actor)
        except RemoteError as error:
            if error.code == "failed_precondition":  # it has ended since we looked
                raise finished from error
            raise
        return message(_EMPTY)()

    def exec(self, request: Any, call: Call) -> Any:
        """Note one more process."""
        _, state = self._task(call, request.container_id)
        if state["phase"] != "running":
            raise RemoteError("failed_precondition", f"task {request.container_id} is not running")
        _refuse_log_of_terminal(request)
        process = parsed(request.spec.value, "exec: its process")
        body = m.TasksExecAdd(
            request.exec_id,
            process,
            request.stdin,
            request.stdout,
            request.stderr,
            request.terminal,
            _token(),
        )
        self._of_task(call, request.container_id, body)
        return message(_EMPTY)()

    def close_io(self, request: Any, call: Call) -> Any:
        """No more input."""
        actor, state = self._task(call, request.container_id)
        if request.exec_id:
            _exec(state, request.exec_id)
        if request.stdin:
            self.ask(call, m.TasksCloseIo(request.exec_id), to=actor)
        return message(_EMPTY)()

    def resize_pty(self, request: Any, call: Call) -> Any:
        """Its terminal has another size."""
        actor, _ = self._task(call, request.container_id)
        self.ask(call, m.TasksResize(request.height, request.width, request.exec_id), to=actor)
        return message(_EMPTY)()

    def pause(self, request: Any, call: Call) -> Any:
        """Have it stand still. Twice is an error, as with the runtime."""
        actor, state = self._task(call, request.container_id)
        if state["paused"]:
            raise RemoteError("internal", f"task {request.container_id} is paused already")
        if state["held"] and state["phase"] == "running":  # to let it run would wait until it may go on
            raise RemoteError("internal", f"task {request.container_id} has not been started")
        self.ask(call, m.TasksPause(), to=actor)
        return message(_EMPTY)()

    def resume(self, request: Any, call: Call) -> Any:
        """Let it go on. Raises RemoteError: it is not paused."""
        actor, state = self._task(call, request.container_id)
        if not state["paused"]:
            raise RemoteError("internal", f"task {request.container_id} is not paused")
        self.ask(call, m.TasksResume(), to=actor)
        return message(_EMPTY)()

    def list_pids(self, request: Any, call: Call) -> Any:
        """Those of its cgroup; of one that has ended, none."""
        actor, _ = self._task(call, request.container_id)
        try:
            found = self.ask(call, m.TasksProcesses(), to=actor)["processes"]
        except RemoteError as error:
            if error.code != "failed_precondition":
                raise
            found = []
        make = message("containerd.v1.types.ProcessInfo")
        return message(f"{_PACKAGE}.ListPidsResponse")(processes=[make(pid=one["pid"]) for one in found])

    def metrics(self, request: Any, call: Call) -> Any:
        """What those that pass a filter use; one that ends meanwhile is left out.

        Docker Engine asks once a second, for each container by its id: no other is looked at for that.
        """
        filters = parse_filters(list(request.filters))
        answer = message(f"{_PACKAGE}.MetricsResponse")()
        for one in self._named(call, filters.values("id")):
            runs = (one["task"] or {}).get("status") in RUNNING_STATUS
            if runs and filters.match(partial(_field, one)):
                answer.metrics.append(measured(self.actor.settings, one))
        return answer

    def _named(self, call: Call, ids: Sequence[str] | None) -> Iterator[dict[str, Any]]:
        """The records of these, or of all; those that are not there are left out."""
        if ids is None:
            body = m.ContainersList(call.namespace, brief=True)
            yield from everything(partial(self.ask_owner, call), body, "containers")
            return
        for identity in ids:
            try:
                found = self.ask_owner(call, m.ContainersGet(call.namespace, identity))
            except RemoteError as error:
                if error.code not in ("not_found", "invalid_argument"):  # or begins several ids
                    raise
                continue
            if found["id"] == identity:
                yield found

    def update(self, request: Any, call: Call) -> Any:
        """Other limits, until it ends."""
        actor, _ = self._task(call, request.container_id)
        limits = parsed(request.resources.value, "update: its resources")
        if limits:
            self.ask(call, m.TasksUpdate(resources=limits), to=actor)
        return message(_EMPTY)()

    @answers_later
    def wait(self, request: Any, call: Call, answer: Answer) -> None:
        """Until it has ended."""

        def response(ended: Mapping[str, Any]) -> Any:
            return _put_end(message(f"{_PACKAGE}.WaitResponse")(), ended)

        def refusal(error: RemoteError) -> RemoteError:
            return self._without_task(call, request.container_id, error)

        Waiting(self, call, answer, response, refusal).begin(request.container_id, request.exec_id)

    def _of_task(self, call: Call, identity: str, body: Any, limit: float | None = None) -> Any:
        """What a container's actor answers. Raises RemoteError not_found where there is no task."""
        try:
            return ask_container(self, call, identity, body, limit)
        except RemoteError as error:
            raise self._without_task(call, identity, error) from error

    def _without_task(self, call: Call, identity: str, error: RemoteError) -> RemoteError:
        """What an error of its actor is to a client: not_found where there is no task."""
        if error.code != "failed_precondition":
            return error
        try:
            self._task(call, identity)
        except RemoteError as missing:
            return missing
        return error

    def _task(self, call: Call, identity: str) -> tuple[str, dict[str, Any]]:
        """Actor and state of a container that has a process. Raises RemoteError not_found."""
        found = record(self, call, identity)
        state = ask_container(self, call, identity, m.TasksState(), found=found)
        if state["phase"] in ("created", "preparing", "starting", "removing", "gone"):
            raise RemoteError("not_found", f'task "{identity}" in namespace "{call.namespace}": not found')
        return found["actor"], state


def _token() -> str:
    """The name of one request, however often it has to be sent."""
    return secrets.token_hex(8)


def _field(found: Mapping[str, Any], path: Any) -> str | None:
    """Fields that a filter of metrics may name: id, namespace."""
    return str(found[path[0]]) if tuple(path) in (("id",), ("namespace",)) else None


def _refuse_log_of_terminal(request: Any) -> None:
    if request.terminal and "://" in request.stdout:
        raise RemoteError("not_implemented", "what a terminal shows goes to a FIFO, to no file or logger yet")


@contextlib.contextmanager
def _as_runtime(before: str) -> Iterator[None]:
    """Clients tell by the text why a program could not be run, and expect containerd's, and UNKNOWN.

    So they do of a second start, which with us is a mistake of theirs.
    """
    try:
        yield
    except RemoteError as error:
        if "exit_code" in error.details:
            raise RemoteError("internal", f"{before}: {error}") from error
        if BEGUN in error.details:
            raise RemoteError("internal", str(error)) from error
        raise


def _exec(state: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] | None = state["execs"].get(name)
    if found is None:
        raise RemoteError("not_found", f"process {name}: not found")
    return found


def _init_process(identity: str, state: Mapping[str, Any]) -> Any:
    process = message("containerd.v1.types.Process")(
        container_id=identity, id=identity, pid=state["pid"], **state["io"]
    )
    process.status = STOPPED
    if state["phase"] == "running":
        process.status = CREATED if state["held"] else PAUSED if state["paused"] else RUNNING
        return process
    return _put_end(process, state)


def _exec_process(container: str, name: str, one: Mapping[str, Any]) -> Any:
    names = dict(zip(("stdin", "stdout", "stderr"), one["given"].get("io", ()), strict=False))
    process = message("containerd.v1.types.Process")(container_id=container, id=name, pid=one["pid"], **names)
    process.status = {"added": CREATED, "starting": CREATED, "running": RUNNING}.get(one["phase"], STOPPED)
    return process if process.status != STOPPED else _put_end(process, one)


def _put_end(target: Any, ended: Mapping[str, Any]) -> Any:
    """Exit status and time, the same wherever they are told."""
    code = ended["exit_code"] if ended.get("known", True) else None
    target.exit_status = UNKNOWN_STATUS if code is None else code
    put_time(target.exited_at, ended["exited_at"])
    return target


def _deleted(identity: str, ended: Mapping[str, Any]) -> Any:
    return _put_end(message(f"{_PACKAGE}.DeleteResponse")(id=identity, pid=ended["pid"]), ended)
