"""Execs: further processes in a running container, each with its own life, output and exit code.

Journalled beside the container's state, so that one under way survives its actor. An exec is known by an
id that its client chose: asking again for the same id starts nothing twice.
"""

import json
import re
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from actors import failpoints
from actors.call import BEGUN, Call
from actors.channels import Wants
from actors.client_lines import refuse_no_name
from actors.health import PREFIX
from actors.linux.pidfd import Process
from actors.messages import TasksExec, TasksExecAdd, TasksExecStart
from actors.processes import signal_process
from actors.runtime import bundle as files
from actors.runtime.errors import ContainerError, RuntimeCommandError
from actors.runtime.launch import Running
from actors.runtime.wishes import Wishes
from transport.errors import RemoteError

if TYPE_CHECKING:
    from actors.container import ContainerActor

CANNOT_EXEC = 126
KEEP = 60.0  # seconds that the output of an ended exec is kept for a client that does not let go of it
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,75}\Z", re.ASCII)


@dataclass(slots=True)
class Exec:
    """What is journalled of one. `drained` says that its output is complete."""

    phase: Literal["added", "starting", "running", "exited"] = "starting"
    pid: int = 0
    start_time: int = 0
    exit_code: int | None = None
    exited_at: int = 0
    error: str = ""
    error_code: int = 0
    drained: bool = False
    terminal: bool = False
    stdin: bool = False
    given: dict[str, Any] = field(default_factory=dict)  # of one that was added: process and streams


class Execs:
    """The execs of one container."""

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._known: dict[str, Exec] = {}
        self._wants_start: dict[str, list[Call]] = {}
        self._wants_exit: dict[str, list[Call]] = {}
        self._cut_off: dict[str, Process] = {}  # what starts that the last incarnation began have left

    def to_journal(self) -> dict[str, Any]:
        """Plain form."""
        return {name: asdict(one) for name, one in self._known.items()}

    def from_journal(self, plain: dict[str, Any]) -> None:
        """Read it back; `recover` then goes on where each stood."""
        self._known = msgspec.convert(plain, dict[str, Exec])

    def hold(self) -> None:
        """Those that run or were just being started, and output that is not copied yet, until `recover`.

        Should the zygote die meanwhile, nobody else has what one that has ended left in its FIFOs.
        """
        for name, one in self._known.items():
            if one.phase == "added" or one.drained:
                continue
            if not one.given:
                self._actor.streams.open(name)
            if one.phase == "running":
                self._actor.processes.hold(Process(one.pid, one.start_time))
            elif one.phase == "starting" and (left := self._left_behind(name)):
                self._cut_off[name] = left
                self._actor.processes.hold(left)

    def _left_behind(self, name: str) -> Process | None:
        """What a start that was cut off has started: its runtime's call has ended, since we hold the lock.

        It may have ended since, which is no reason to start it once more.
        """
        try:
            pid = int((self._directory(name) / files.PID_FILE).read_text())
        except (FileNotFoundError, ValueError):
            return None
        return self._actor.processes.of_pid(pid)

    def recover(self) -> None:
        """Take up those that were under way when the last incarnation ended."""
        for name, one in list(self._known.items()):
            if one.phase == "added":
                continue
            if one.phase == "starting":
                self._recover_start(name, one)
            elif one.phase == "running":
                self._watch(name, one)
            elif not one.drained:
                self._ended(name, one)
            else:
                self._expire(name)

    def _recover_start(self, name: str, one: Exec) -> None:
        """The runtime's call either left a process, or it failed, or was never made."""
        process = self._cut_off.pop(name, None)
        if process is None and one.given:  # all is known that it takes to make it once more
            self._begin_added(name, one)
            return
        if process is None:
            one.error, one.error_code = "the start was cut off by a crash", CANNOT_EXEC
            self._actor.streams.discard(name)
            self._finished(name, one, None)
            return
        self._actor.processes.run_runtime(
            lambda: self._actor.launcher.begun(process), lambda result: self._launched(name, one, result)
        )

    def is_idle(self) -> bool:
        """Whether there is none, be it over: its output is kept for a while."""
        return not self._known

    def knows(self, pid: int) -> bool:
        """Whether this is a process that we watch."""
        return any(one.pid == pid and one.phase == "running" for one in self._known.values())

    def process(self, name: str) -> Process:
        """The process of an exec. Raises RemoteError not_found."""
        one = self._find(name)
        return Process(one.pid, one.start_time)

    def running(self, name: str) -> Process:
        """The process of an exec that runs. Raises RemoteError not_found, failed_precondition."""
        if self._find(name).phase != "running":
            raise RemoteError("failed_precondition", f"exec {name} is not running")
        return self.process(name)

    def phase(self, name: str) -> str:
        """Of an exec. Raises RemoteError not_found."""
        return self._find(name).phase

    def wants(self, name: str) -> Wants:
        """What it was started with. Raises RemoteError not_found."""
        one = self._find(name)
        return Wants(one.terminal, one.stdin)

    def has_exited(self, name: str) -> bool:
        """Whether it has exited, its output complete or not. Raises RemoteError not_found."""
        return self._find(name).phase == "exited"

    def has_ended(self, name: str) -> bool:
        """Whether it has exited and its output is complete."""
        one = self._known.get(name)
        return one is None or one.drained

    def is_under_way(self, name: str) -> bool:
        """Whether there is such an exec, and it has not come to its end."""
        one = self._known.get(name)
        return one is not None and not one.drained

    def exit_answer(self, name: str) -> Any:
        """What those who wait for its exit are told."""
        one = self._find(name)
        if one.error:
            return self._error(one)
        return {"exit_code": one.exit_code, "exited_at": one.exited_at, "error": ""}

    def wait(self, name: str, call: Call) -> None:
        """Answer once it has exited. Raises RemoteError not_found."""
        if self.has_exited(name) or self._find(name).error:
            answer = self.exit_answer(name)
            self._actor.when_saved(lambda: call.settle(answer))
        else:
            waiting = self._wants_exit.get(name, ())
            self._wants_exit[name] = [*filter(attrgetter("open"), waiting), call]

    def _tell_exit(self, name: str) -> None:
        for call in self._wants_exit.pop(name, ()):
            call.settle(self.exit_answer(name))

    def _find(self, name: str) -> Exec:
        if name not in self._known:
            raise self._unknown(name)
        return self._known[name]

    def _unknown(self, name: str) -> RemoteError:
        return RemoteError("not_found", f"container {self._actor.record['name']} has no exec {name!r}")

    def _error(self, one: Exec) -> RemoteError:
        details = {"exit_code": one.error_code}
        return RemoteError("failed_precondition", one.error, outcome="done", details=details)

    def start(self, body: TasksExec, call: Call | None) -> None:
        """Start one, unless it is known already."""
        if not _ID.match(body.exec_id):
            raise RemoteError("invalid_argument", f"exec id {body.exec_id[:80]!r} is not usable")
        if call is not None:
            self._wants_start.setdefault(body.exec_id, []).append(call)
        if body.exec_id in self._known:
            known = self._known[body.exec_id]
            self._actor.when_saved(lambda: self._answer_start(body.exec_id, known))
            return
        wish = _wish(body)
        one = self._known[body.exec_id] = Exec(terminal=body.terminal, stdin=body.stdin)
        self._actor.save(
            lambda: self._actor.processes.run_runtime(
                lambda: self._launch(body.exec_id, wish),
                lambda result: self._launched(body.exec_id, one, result),
            )
        )

    def add(self, body: TasksExecAdd, call: Call) -> None:
        """Note one that `start_added` starts. Raises RemoteError already_exists."""
        if not _ID.match(body.exec_id):
            raise RemoteError("invalid_argument", f"exec id {body.exec_id[:80]!r} is not usable")
        if body.exec_id in self._known:
            if body.token and self._known[body.exec_id].given.get("token") == body.token:
                self._actor.when_saved(call.reply)
                return
            raise RemoteError("already_exists", f"exec {body.exec_id} already exists")
        io = [body.stdin, body.stdout, body.stderr]
        refuse_no_name(*io)
        given = {"process": body.process, "io": io, "token": body.token}
        self._known[body.exec_id] = Exec(phase="added", given=given, terminal=body.terminal)
        at = time.time_ns()

        def journalled() -> None:
            self._announce("/tasks/exec-added", body.exec_id, str(at), at, exec_id=body.exec_id)
            call.reply()

        self._actor.save(journalled)

    def close_input(self, name: str) -> None:
        """Note that the client of one that was added writes no more, be it started or not."""
        one = self._known.get(name)
        if one is not None and one.given:
            one.given["input_closed"] = True
            self._actor.save()

    def given(self, name: str) -> Mapping[str, Any]:
        """What the client has said of one that was added; nothing of any other."""
        one = self._known.get(name)
        return one.given if one is not None else {}

    def start_added(self, body: TasksExecStart, call: Call) -> None:
        """Start one that was added. Where that has failed, another request has it tried anew."""
        name, one = body.exec_id, self._find(body.exec_id)
        again = bool(body.token) and one.given.get("started_by") == body.token
        if one.phase not in ("added", "starting") and not again:
            text = f"exec {name} has been started before"
            raise RemoteError("failed_precondition", text, details={BEGUN: True})
        fresh = one.phase == "added" and not again
        if fresh:
            self._actor.refuse_unless_running()
        self._wants_start.setdefault(name, []).append(call)
        if not fresh:
            self._actor.when_saved(lambda: self._answer_start(name, one))
            return
        one.phase, one.given["started_by"] = "starting", body.token
        one.error, one.error_code = "", 0
        self._actor.save(lambda: self._begin_added(name, one))

    def _begin_added(self, name: str, one: Exec) -> None:
        self._actor.processes.run_runtime(
            lambda: self._launch_added(name, one), lambda result: self._launched(name, one, result)
        )

    def _launch_added(self, name: str, one: Exec) -> Running:
        """In a worker thread."""
        directory = self._directory(name)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / "process.json"
        path.write_text(json.dumps({**one.given["process"], "terminal": one.terminal}))
        if one.terminal:
            with self._actor.stepwise.lines.opened(name, directory, one.given["io"]) as console:
                return self._actor.launcher.exec(directory, path, {}, console)
        with self._actor.stepwise.ends(name, one.given["io"]) as ends:
            return self._actor.launcher.exec(directory, path, ends)

    def _answer_start(self, name: str, one: Exec) -> None:
        """Everybody who has asked for it, once it has started or failed to."""
        if one.phase == "starting":
            return
        for call in self._wants_start.pop(name, ()):
            call.settle(self._error(one) if one.error else {"pid": one.pid})

    def _launch(self, name: str, wish: Wishes) -> Running:
        """In a worker thread."""
        actor, directory = self._actor, self._directory(name)
        wants = Wants(wish.terminal, wish.stdin, wish.console_size)
        with actor.streams.opened(name, wants) as (ends, console):
            process = files.write_process(actor.bundle, directory, wish)
            failpoints.hit("container", "exec", "before")
            running = actor.launcher.exec(directory, process, ends, console)
            failpoints.hit("container", "exec", "after")
            return running

    # It may be forgotten by now: with the run of its container, by its client, or as a check that has failed

    def _launched(self, name: str, one: Exec, result: Any) -> None:
        if isinstance(result, Running):
            one.phase, one.pid, one.start_time = "running", result.process.pid, result.process.start_time
            self._actor.save(lambda: self._began(name, one, result.at))
        elif isinstance(result, ContainerError | OSError):
            code = result.exit_code if isinstance(result, RuntimeCommandError) else None
            one.error, one.error_code = self._why_not(result), code or CANNOT_EXEC
            if one.given:
                self._not_started(name, one)
            else:
                self._actor.streams.discard(name)
                self._finished(name, one, None)
        else:
            raise result
        self._actor.when_saved(lambda: self._answer_start(name, one))

    def _began(self, name: str, one: Exec, at: int) -> None:
        self._watch(name, one)
        self._announce("/tasks/exec-started", name, _key(one), at, exec_id=name, pid=one.pid)

    def _not_started(self, name: str, one: Exec) -> None:
        """It is as it was before: its client deletes it, or has it started once more."""
        one.phase = "added"
        if self._known.get(name) is not one:
            return
        shutil.rmtree(self._directory(name), ignore_errors=True)

        def journalled() -> None:
            self._tell_exit(name)
            self._actor.stepwise.end_input(name)

        self._actor.save(journalled)

    def _why_not(self, error: Exception) -> str:
        """What a runtime says of a container that ends under its hands has many forms and little sense."""
        state = self._actor.state
        if Process(state.pid, state.start_time).is_within():
            return str(error)
        return f"container {self._actor.record['name']} is not running any more; see actr ps -a"

    def _announce(self, topic: str, name: str, key: str, at: int, **body: Any) -> None:
        """What people have asked for is told; a health check every few seconds would fill the journal.

        `key` tells it from others that have had its name.
        """
        if not self._is_check(name):
            self._actor.reports.announce(topic, f"{name}:{key}", at, **body)

    def _is_check(self, name: str) -> bool:
        """Whether it is a health check, whose container no client of containerd's API has described."""
        return name.startswith(PREFIX) and not self._actor.stepwise.task

    def kill_if_running(self, name: str) -> None:
        """SIGKILL; one that has ended is fine."""
        one = self._known.get(name)
        if one is not None and one.phase == "running":
            signal_process(Process(one.pid, one.start_time), signal.SIGKILL)

    def _watch(self, name: str, one: Exec) -> None:
        if not one.given:
            self._actor.streams.follow(name, Wants(one.terminal, one.stdin))
        else:
            self._actor.stepwise.lines.follow(name, one.given["io"], terminal=one.terminal)
        target = Process(one.pid, one.start_time)
        self._actor.processes.when_exited(target, lambda code, at: self._exited(name, one, code, at))

    def _exited(self, name: str, one: Exec, code: int | None, at: int) -> None:
        one.phase, one.exit_code, one.exited_at = "exited", code, at

        def journalled() -> None:
            if self._known.get(name) is one:
                self._tell_exit(name)
            self._ended(name, one)

        self._actor.save(journalled)

    def _ended(self, name: str, one: Exec) -> None:
        at, code = one.exited_at, one.exit_code
        self._announce(
            "/tasks/exit", name, _key(one), at, id=name, pid=one.pid, exit_status=code, exited_at=at
        )
        if one.given:  # whose output is its client's
            io, finished = one.given["io"], partial(self._finished, name, one, one.exit_code)
            self._actor.stepwise.lines.drain(name, io, finished, terminal=one.terminal)
            return
        wants = Wants(one.terminal, one.stdin)
        self._actor.streams.drain(name, wants, lambda: self._finished(name, one, one.exit_code))

    def _finished(self, name: str, one: Exec, code: int | None) -> None:
        one.phase, one.exit_code, one.drained = "exited", code, True
        if self._known.get(name) is one:
            self._actor.save(lambda: self._over(name, one, code))

    def _over(self, name: str, one: Exec, code: int | None) -> None:
        if self._known.get(name) is not one:
            return
        self._tell_exit(name)
        if one.given:
            self._actor.stepwise.end_input(name)
        self._actor.streams.serve(name)
        self._expire(name)
        if self._is_check(name):
            self._actor.health.ended(name, code)

    def _expire(self, name: str) -> None:
        one = self._find(name)
        if not one.given:  # which is kept until its client lets go of it
            self._actor.later(KEEP, lambda: self._forget_old(name, one))

    def _forget_old(self, name: str, one: Exec) -> None:
        """Unless it has been forgotten: then another may have its name."""
        if self._known.get(name) is one:
            self._forget(name)

    def delete(self, name: str, *, strict: bool = False) -> None:
        """Forget one that has exited; one that is unknown is fine, unless this is `strict`."""
        one = self._known.get(name)
        if one is None and strict:
            raise self._unknown(name)
        if one is not None and one.phase not in ("added", "exited"):
            raise RemoteError("failed_precondition", f"exec {name} is still running; kill it first")
        self._forget(name)

    def clear(self) -> None:
        """Forget all of them: the container they ran in has ended."""
        for name in list(self._known):
            self._forget(name)

    def _forget(self, name: str) -> None:
        one = self._known.pop(name, None)
        if one is not None:
            for call in self._wants_exit.pop(name, ()):
                call.fail(self._unknown(name))
            if one.given:  # its client may not have waited for the rest of its output, behind which it ends
                self._actor.stepwise.end_input(name)
            shutil.rmtree(self._directory(name), ignore_errors=True)
            self._actor.save()

    def _directory(self, name: str) -> Any:
        return self._actor.bundle / files.EXECS / name


def _key(one: Exec) -> str:
    return f"{one.pid}:{one.start_time}"


def _wish(body: TasksExec) -> Wishes:
    return Wishes(
        args=tuple(body.args),
        env=tuple(body.env),
        cwd=body.cwd,
        user=body.user,
        terminal=body.terminal,
        stdin=body.stdin,
        console_size=(body.rows, body.columns) if body.terminal and body.rows and body.columns else None,
    )
