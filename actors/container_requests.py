"""What clients ask of a container's actor, and who of them waits for what.

Each operation looks whether it makes sense now, then turns into a fact for actors/lifecycle.py or goes to the
part that it concerns; what it starts, actors/container.py does.
"""

import abc
import signal
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from actors import lifecycle as life
from actors import messages as m
from actors.actor import Actor
from actors.call import LATER, Call, Later
from actors.channels import Wants
from actors.control import Control
from actors.copying import Copying
from actors.execs import Execs
from actors.freezing import Freezing
from actors.host import Host
from actors.lifecycle import Fact, State
from actors.linux.pidfd import Process
from actors.processes import signal_process
from actors.removal import Removal
from actors.stepwise import Stepwise
from actors.streams import Streams
from transport.errors import RemoteError

MAX_GRACE = 7 * 86400.0  # seconds
MAX_SIDE = 65535  # rows or columns of a terminal
ENDED = ("exited", "removing", "gone")


class Requests(Actor):
    """The side of a container's actor that answers."""

    namespace: str
    id: str
    bundle: Path
    record: dict[str, Any]
    state: State
    streams: Streams
    execs: Execs
    control: Control
    copying: Copying
    freezing: Freezing
    removal: Removal
    stepwise: Stepwise

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._wants_start: list[Call] = []
        self._wants_exit: list[Call] = []
        self._wants_removal: list[Call] = []
        self._told_run = 0  # whose end those who wait for it have been told

    @abc.abstractmethod
    def happened(self, fact: Fact) -> None:
        """Decide, then do."""

    @abc.abstractmethod
    def when_saved(self, then: Callable[[], None]) -> None:
        """Go on with `then` once what has been decided is journalled."""

    # Who waits, and what for

    def _tell_exit(self) -> None:
        self._told_run = self.state.run
        for call in self._take(self._wants_exit):
            call.settle(self.exit_answer())

    def _answer_start(self) -> None:
        self.streams.serve("")
        for call in self._take(self._wants_start):
            if self.state.error:
                call.fail(self._start_error())
            elif self.state.phase in ("removing", "gone") and not self._has_begun(call):
                text = f"container {self.record['name']} has been removed before it was started"
                call.fail(RemoteError("failed_precondition", text, outcome="done"))
            else:
                call.reply({"status": self.state.phase, "pid": self.state.pid})

    def _has_begun(self, call: Call) -> bool:
        """Whether the run that it names has: asked again, it is answered as it would have been."""
        return 0 < getattr(call.body, "run", 0) <= self.state.run

    def _start_error(self) -> RemoteError:
        details = {"exit_code": self.state.error_code}
        return RemoteError("failed_precondition", self.state.error, outcome="done", details=details)

    def _answer_exit(self) -> None:
        self._tell_exit()
        self.stepwise.settled()
        self.streams.serve("")

    def exit_answer(self) -> Any:
        """What those who wait for the exit are told."""
        state = self.state
        if state.error:
            return self._start_error()
        code = state.exit_code if state.known else None
        return {"exit_code": code, "exited_at": state.exited_at, "error": state.error}

    def has_settled(self) -> bool:
        """Whether those who wait for the exit have waited long enough."""
        if self.state.auto_remove or self.state.remove:
            return self.removal.retired or self.state.phase == "gone"
        return self.state.settled or (self.state.phase == "exited" and self._told_run == self.state.run)

    def _answer_removed(self) -> None:
        self.copying.clear()  # who is told that it is gone finds no copies of its files
        for call in self._take(self._wants_removal):
            call.reply({"left": self.removal.left} if self.removal.left else {})

    @staticmethod
    def _take(calls: list[Call]) -> list[Call]:
        taken = list(calls)
        calls.clear()
        return taken

    # Operations

    def _wants(self) -> Wants:
        options = self.record.get("options", {})
        size = options.get("console_size")
        return Wants(bool(options.get("terminal")), bool(options.get("stdin")), tuple(size) if size else None)

    def tasks_start(self, body: m.TasksStart, call: Call) -> Later:
        """Start it."""
        refusal = life.refuse_start(self.state, body.run)
        if self.record["options"].get("foreign"):
            refusal = "is started by the client that described it"
        if self.copying.mounted:
            refusal = "has files copied in or out; try again"
        if refusal:
            raise RemoteError("failed_precondition", f"container {self.record['name']} {refusal}")
        self._wants_start.append(call)
        self.want("running", lambda: self.happened(life.Start(body.run)))
        return LATER

    def tasks_create(self, body: m.TasksCreate, call: Call) -> Later:
        """Make its process."""
        return self.stepwise.create(body, call)

    def tasks_let_run(self, body: m.TasksLetRun, call: Call) -> Later:
        """Let its program run."""
        return self.stepwise.let_run(body, call)

    def tasks_delete(self, body: m.TasksDelete, call: Call) -> Later:
        """Take note of its end."""
        return self.stepwise.delete(body, call)

    def tasks_exec_add(self, body: m.TasksExecAdd, call: Call) -> Later:
        """One more process, later. What is added to no run would be found there by the next one."""
        self.refuse_unless_running()
        self.execs.add(body, call)
        return LATER

    def tasks_exec_start(self, body: m.TasksExecStart, call: Call) -> Later:
        """Now."""
        self.execs.start_added(body, call)
        return LATER

    def wait_for_start(self, call: Call) -> None:
        """Answer it when the start that is under way has come to an end."""
        self._wants_start.append(call)

    def want(self, wanted: m.Wanted, then: Callable[[], None]) -> None:
        """First on record, where a restart policy asks for it after a reboot. Without one, nobody asks."""
        if self.state.policy == "no":
            then()
            return

        def recorded(result: Any) -> None:
            if isinstance(result, Exception):
                self.log.warning("what is wanted is not on record: %s", result)
            then()

        self.ask(m.ContainersWant(self.namespace, self.id, wanted), recorded)

    def tasks_state(self, _body: m.TasksState, _: Call) -> dict[str, Any]:
        """All that is known."""
        return {
            **msgspec.to_builtins(self.state),
            "bundle": str(self.bundle),
            "logs": str(self.settings.logs(self.namespace, self.id)),
            "execs": self.execs.to_journal(),
            "io": self.stepwise.io(),
        }

    def tasks_kill(self, body: m.TasksKill, call: Call) -> Later | None:
        """Signal its process, or an exec's, or all."""
        if body.signal not in signal.valid_signals():
            raise RemoteError("invalid_argument", f"there is no signal {body.signal}")
        if body.exec_id:
            signal_process(self.execs.running(body.exec_id), body.signal)
            return None
        self.refuse_unless_running()
        target = Process(self.state.pid, self.state.start_time)
        if body.everyone and body.signal != signal.SIGKILL:  # the death of the first one is that of all
            self.control.signal_everyone(body.signal)
            return None
        if body.signal != signal.SIGKILL:
            signal_process(target, body.signal)
            return None
        if self.state.policy == "no":
            self.control.kill(target)
            return None
        self.want("stopped", lambda: self._kill_for_good(call))
        return LATER

    def _kill_for_good(self, call: Call) -> None:
        """Who kills it wants it to stay so; the policy may have started it again meanwhile."""
        self.happened(life.Stop())

        def journalled() -> None:
            if self.state.phase == "running":
                self.control.kill(Process(self.state.pid, self.state.start_time))
            call.reply({})

        self.when_saved(journalled)

    def refuse_unless_running(self) -> None:
        """Raise RemoteError failed_precondition."""
        if self.state.phase != "running":
            name = self.record["name"]
            raise RemoteError("failed_precondition", f"container {name} is not running; see actr ps -a")

    def tasks_stop(self, body: m.TasksStop, call: Call) -> Later:
        """The stop signal; then, in time, the other one. Answered when it has ended and stays so."""

        def wanted() -> None:
            self._halt(body.grace, again=False)
            try:
                self.tasks_wait(m.TasksWait(), call)
            except RemoteError as error:
                call.fail(error)

        self.want("stopped", wanted)
        return LATER

    def _halt(self, grace: float | None, *, again: bool) -> None:
        """The wish is journalled before the signal: no policy may start again what a person has stopped."""
        self.happened(life.Stop(again=again))

        def journalled() -> None:
            if self.state.phase == "running":
                most = self.control.grace() if grace is None else grace
                self.control.signal_to_stop(min(max(0.0, most), MAX_GRACE))

        self.when_saved(journalled)

    def tasks_restart(self, body: m.TasksRestart, call: Call) -> Later:
        """Stop it and start it anew; one that does not run is only started."""
        if self._is_only_started(body):
            return self.tasks_start(m.TasksStart(body.run), call)
        if self.state.auto_remove:  # of which its end is on record as the last
            text = f"container {self.record['name']} removes itself when it has ended: it cannot be restarted"
            raise RemoteError("failed_precondition", text)
        self.want("running", lambda: self._stop_and_start(body, call))
        return LATER

    def _is_only_started(self, body: m.TasksRestart) -> bool:
        """Whether there is nothing to stop: the run that is meant has begun, or none is under way."""
        begun = 0 < body.run <= self.state.run
        return begun or self.state.phase not in ("starting", "running")

    def _stop_and_start(self, body: m.TasksRestart, call: Call) -> None:
        """It may have come to its end, or the policy have started it again, while the wish was recorded."""
        ending = self.state.phase == "exited" and not self.state.settled
        if self._is_only_started(body) and not ending:
            try:
                self.tasks_start(m.TasksStart(body.run), call)
            except RemoteError as error:
                call.fail(error)
            return
        self._wants_start.append(call)
        self._halt(body.grace, again=True)

    def tasks_wait(self, _body: m.TasksWait, call: Call) -> Later:
        """Answered when it has exited."""
        if self.has_settled():
            call.settle(self.exit_answer())
        elif self.state.phase == "created" and not self.state.error:
            name = self.record["name"]
            raise RemoteError("failed_precondition", f"container {name} has not been started")
        else:
            self._wants_exit = [*filter(attrgetter("open"), self._wants_exit), call]
        return LATER

    def tasks_exec_wait(self, body: m.TasksExecWait, call: Call) -> Later:
        """Answered when it has exited."""
        self.execs.wait(body.exec_id, call)
        return LATER

    def tasks_output(self, body: m.TasksOutput, call: Call) -> Later:
        """Its output, as far as it has come, or until the end."""
        if body.exec_id:
            self.execs.process(body.exec_id)  # not found is an error
        self.streams.add(body, call)
        return LATER

    def tasks_input(self, body: m.TasksInput, call: Call) -> Later:
        """A piece of what it reads."""
        self._refuse_without_input(body.exec_id)
        self.streams.channels.feed(body.exec_id, body.writer, body.offset, call)
        return LATER

    def tasks_close_io(self, body: m.TasksCloseIo, call: Call) -> Later:
        """The end of what it reads."""
        if self.stepwise.task:
            self.stepwise.close_input(body.exec_id)
            call.reply({})
            return LATER
        self._refuse_without_input(body.exec_id)
        self.streams.channels.end(body.exec_id, call)
        return LATER

    def tasks_resize(self, body: m.TasksResize, call: Call) -> Later:
        """Its terminal has another size."""
        if not (1 <= body.rows <= MAX_SIDE and 1 <= body.columns <= MAX_SIDE):
            raise RemoteError("invalid_argument", f"a terminal has from 1 to {MAX_SIDE} rows and columns")
        owner = self.stepwise if self.stepwise.task else self.streams.channels
        owner.resize(body.exec_id, (body.rows, body.columns), call)
        return LATER

    def _refuse_without_input(self, exec_id: str) -> None:
        """Refuse what can never be delivered; what only is not ready yet is tried again."""
        wants = self.execs.wants(exec_id) if exec_id else self._wants()
        over = self.execs.has_exited(exec_id) if exec_id else self.state.phase in ENDED
        if over or not wants.stdin:
            why = "has ended" if over else "was started without -i"
            raise RemoteError("failed_precondition", f"the process takes no input: it {why}")

    def cancelled(self, call: Call) -> None:
        """Who follows no more, or is gone, leaves nothing open."""
        super().cancelled(call)
        self.streams.prune()
        self.copying.cancelled(call)

    def credited(self, call: Call) -> None:
        """A follower takes more."""
        self.streams.credited(call)
        self.copying.serve(call)

    def tasks_exec(self, body: m.TasksExec, call: Call) -> Later:
        """One more process."""
        self.refuse_unless_running()
        self.execs.start(body, call)
        return LATER

    def tasks_exec_delete(self, body: m.TasksExecDelete, _: Call) -> None:
        """Forget one that has ended."""
        self.execs.delete(body.exec_id, strict=body.strict)

    def tasks_freeze(self, body: m.TasksFreeze, call: Call) -> Later:
        """Have it stand still for a while."""
        self.refuse_unless_running()
        return self.freezing.freeze(body.seconds, call, body.holder, again=body.again)

    def tasks_thaw(self, body: m.TasksThaw, _: Call) -> None:
        """Let it go on."""
        self.freezing.let_go(body.holder)

    def tasks_pause(self, _body: m.TasksPause, call: Call) -> Later:
        """Freeze it."""
        self.refuse_unless_running()
        self.control.pause(call, paused=True)
        return LATER

    def tasks_resume(self, _body: m.TasksResume, call: Call) -> Later:
        """Let it go on."""
        self.refuse_unless_running()
        self.control.pause(call, paused=False)
        return LATER

    def tasks_update(self, body: m.TasksUpdate, call: Call) -> Later:
        """Change its limits."""
        self.control.update(body, call)
        return LATER

    def tasks_processes(self, _body: m.TasksProcesses, _: Call) -> dict[str, Any]:
        """Those of its cgroup."""
        self.refuse_unless_running()
        return {"processes": self.control.processes()}

    def tasks_stats(self, body: m.TasksStats, _: Call) -> Any:
        """From its cgroup and its network namespace."""
        self.refuse_unless_running()
        return self.control.statistics(figures=body.figures)

    def tasks_checkpoint(self, body: m.TasksCheckpoint, call: Call) -> Later:
        """With CRIU, where that works."""
        self.refuse_unless_running()
        self.control.checkpoint(body, call)
        return LATER

    def tasks_restore(self, body: m.TasksRestore, call: Call) -> Later:
        """With CRIU, where that works."""
        self.control.restore(body, call)
        return LATER

    def files_get(self, body: m.FilesGet, call: Call) -> Later:
        """Out of it."""
        self.copying.get(body.path, call)
        return LATER

    def files_put(self, body: m.FilesPut, call: Call) -> Later:
        """Into it."""
        self.copying.put(body, call)
        return LATER

    def containers_rename(self, body: m.ContainersRename, call: Call) -> Later:
        """Another name."""
        self.control.rename(body.name, call)
        return LATER

    def containers_networks(self, body: m.ContainersNetworks, call: Call) -> Later:
        """On a network, or off it, from the next start."""
        self.control.networks(body, call)
        return LATER

    def containers_remove(self, body: m.ContainersRemove, call: Call) -> Later:
        """Remove it with all that belongs to it."""
        refusal = life.refuse_remove(self.state, force=body.force)
        if refusal:
            raise RemoteError("failed_precondition", f"container {self.record['name']} {refusal}")
        if body.strict and (self._wants_removal or self.state.phase == "gone"):
            raise RemoteError("not_found", f"container {self.record['name']} is being removed already")
        self._wants_removal.append(call)
        self.happened(life.Remove())
        return LATER
