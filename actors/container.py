"""Container: one container, its process, its output. Parent (as subreaper) of what the runtime starts.

States and decisions are in actors/lifecycle.py; this file performs the effects. What it is asked for is in
actors/container_requests.py. It tells metadata and events what became of the process. It lives on when the
daemon stops or dies, as long as its container runs. Restarted by the supervisor, always, unless the container
has been removed; the next incarnation reads the journal and goes on.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from actors import failpoints
from actors import lifecycle as life
from actors import messages as m
from actors.call import Call
from actors.container_journal import Journal
from actors.container_requests import ENDED, Requests
from actors.control import Control
from actors.copying import Copying
from actors.degraded import Degraded
from actors.delivery.delivery import Delivery
from actors.execs import Execs
from actors.freezing import Freezing
from actors.health import Health
from actors.lifecycle import Effect, Fact, State
from actors.linux import cgroups, locking
from actors.linux.pidfd import Process
from actors.oom import OomWatch
from actors.processes import Processes
from actors.removal import DETACH_LIMIT, Removal
from actors.reports import Reports
from actors.runtime import bundle as files
from actors.runtime.cgroup_parents import Parents
from actors.runtime.errors import CANNOT_START, ContainerError, RuntimeCommandError
from actors.runtime.launch import Launcher, Running, Steps, waited
from actors.runtime.oci_runtime import recorded_init
from actors.runtime.wishes import wishes
from actors.sleeping import Sleep
from actors.stepwise import Stepwise
from actors.streams import Streams
from actors.zygote.strangers import shelf
from storage.errors import StorageError
from transport.errors import RemoteError

ABANDON_AFTER = 10.0  # seconds for a runtime's call to end by itself, once nobody wants its result
LINGER = 5.0  # seconds
BRIEF = 0.003  # seconds in which a program may end unwatched: from runc's end to that of `true` it takes one
LOAD_AGAIN = 10.0  # seconds
LOCK_PATIENCE = 90.0  # seconds that a runtime's call may take, after the actor that began it has died
LOCK_LIMIT = 120.0  # seconds until we have its lock


class ContainerActor(Requests):
    """One container."""

    kind = "container"

    def started(self) -> None:
        """Take the lock, ask for the record, read the journal."""
        self.namespace, self.id = self.birth.args["namespace"], self.birth.args["id"]
        self.bundle = self.settings.bundle(self.namespace, self.id)
        self.bundle.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.lock = os.open(self.bundle / files.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._take_lock()
        self.degraded = Degraded(self)
        self._look_up()  # while we go on
        self.record: dict[str, Any] = {}
        self.state = State()
        self.processes = Processes(self)
        self.reports = Reports(self)
        self.removal = Removal(self)
        self.streams = Streams(self)
        self.delivery = Delivery(self)
        self.execs = Execs(self)
        self.freezing = Freezing(self)
        self.control = Control(self)
        self.health = Health(self)
        self.oom = OomWatch(self)
        self.copying = Copying(self)
        self.stepwise = Stepwise(self)
        self.sleep = Sleep(self)
        self.journal = Journal(self)
        self._early: list[Call] = []
        self._brief = False  # it has ended before we came to watch it, and that is heard of next
        if not self.degraded.on:
            self._read_journal()
            self._hold()

    def open_again(self) -> None:
        """As at first, after all: it has stood still for a while."""
        self.record = {}
        self._read_journal()
        self._hold()
        self._load()

    def failing(self, error: BaseException | None) -> None:
        """It is counted how often in a row."""
        if hasattr(self, "degraded"):
            self.degraded.failed(error)

    def _look_up(self) -> None:
        """What is on record, unless it has just been written: then nobody has had time to change it."""
        if told := dict(self.birth.told):
            self.soon(lambda: self._loaded(told))
        else:
            self._load()

    def _load(self) -> None:
        self.ask(m.ContainersGet(self.namespace, self.id, retired=True), self._loaded)

    def _take_lock(self) -> None:
        """Wait for our predecessor, or for a runtime's call that outlived it, to let go.

        One that hangs would keep us from starting, each time anew, and the container from being removed.
        """
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with self.busy(LOCK_LIMIT):
                for one in locking.take(self.lock, LOCK_PATIENCE):
                    self.log.warning(
                        "process %d of the runtime did not come to its end: it is killed", one.pid
                    )

    def found_zygote(self) -> None:
        """Hand the pipes, and the processes watched, over once more."""
        self.streams.keep_all()
        self.stepwise.lines.keep_all()
        self.delivery.keep_all()
        self.processes.keep_all()
        self.oom.keep()
        self.sleep.unbar()

    def told(self, message: dict[str, Any]) -> None:
        """What the zygote says of our sleep."""
        if message.get("op") == "sleep":
            self.sleep.answered(held=bool(message["held"]))

    def stopping(self) -> None:
        """The daemon stops. A running container keeps its actor; any other comes back from the journal."""
        self.sleep.bar()
        if self.state.phase == "exited" and not self.state.settled:
            # The zygote lets go of the FIFOs when we end in order.
            self.streams.drain("", self._wants(), self.finish)
        elif self.state.phase != "running":
            self.finish()

    def on_receive(self, message: Any) -> None:
        """Requests wait until the record has come."""
        if isinstance(message, Call):
            self.sleep.stir()
        if isinstance(message, Call) and not self.record:
            self._early.append(message)
        elif not (isinstance(message, Call) and self.degraded.refuses(message)):
            super().on_receive(message)

    def _loaded(self, result: Any) -> None:
        if isinstance(result, RemoteError) and result.code == "deadline_exceeded":
            self._load()
            return
        if isinstance(result, RemoteError) and result.code != "not_found" and self.degraded.on:
            self.later(LOAD_AGAIN, self._load)
            return
        if isinstance(result, RemoteError):
            if result.code != "not_found":
                raise result
            self._leave()
            return
        if self.birth.args.get("created_at", result["created_at"]) != result["created_at"]:
            self._leave()  # to the actor of another container, which waits for our end
            return
        self.record = result
        program = self.settings.runtime_binary or result["runtime"]
        own = result["options"].get("cgroup_parent")
        parents = Parents(self.settings.state / "cgroups", cgroups.mounted()) if own else None
        self.launcher = Launcher(
            program, self._runtime_state(), self.id, self.bundle, self.lock, self.settings.filters, parents
        )
        self.degraded.begin()
        if self.degraded.on:
            self._take_early()
            return
        task = result["task"] or {}
        self.state = life.remembered(self._with_record(result), task)
        if self.state.phase in ENDED:  # who takes its output may not have taken all
            self.delivery.begin(ended=self.state.settled)
        self.copying.recover()
        self.happened(
            life.Loaded(
                start=result["wanted"] == "running",
                removed=result["wanted"] == "removed",
                lost=task.get("status") == "running",
                at=time.time_ns(),
            )
        )
        self.execs.recover()
        self.stepwise.recover()
        if self.state.phase == "running":
            self.freezing.thaw()  # who had it frozen may have died with our predecessor
            self.control.tell_name()
        self._take_early()
        self.sleep.begin()

    def _take_early(self) -> None:
        early, self._early = self._early, []
        for call in early:
            self.on_receive(call)

    def _leave(self) -> None:
        """It was removed while we were away."""
        self._clean_up()
        self.finish()

    def _with_record(self, record: dict[str, Any]) -> State:
        """What the record says, and a journal does not or may not yet."""
        restart = wishes(record["options"]).restart
        fresh = self.state == State()  # without a journal, only the record knows that a person stopped it
        halted = self.state.halted or (fresh and record["wanted"] == "stopped" and restart.policy != "no")
        return replace(
            self.state,
            auto_remove=record["auto_remove"],
            policy=restart.policy,
            tries=restart.tries,
            halted=halted,
        )

    # Facts and effects

    def happened(self, fact: Fact) -> None:
        """Decide, then do: what follows on a journal that has no room waits for it."""
        self.sleep.stir()
        self.state, effects = life.decide(self.state, fact)
        if self.state.remove:
            self.journal.go_on()
        self._do_all(effects)

    def _do_all(self, effects: tuple[Effect, ...]) -> None:
        for place, effect in enumerate(effects):
            if self.journal.waits:
                self.journal.when_saved(partial(self._do_all, effects[place:]))
                return
            failpoints.hit("container", effect.word, "before")
            _PERFORM[effect](self)
            failpoints.hit("container", effect.word, "after")

    def save(self, then: Callable[[], None] = lambda: None) -> None:
        """Journal what is known now; `then` go on."""
        self.journal.save(then)

    def when_saved(self, then: Callable[[], None]) -> None:
        """Go on with `then` once what has been decided is journalled."""
        self.journal.when_saved(then)

    def _read_journal(self) -> None:
        self.stepwise.read()
        self.journal.read()

    def _hold(self) -> None:
        """What is under way, before anybody is asked for anything.

        Should the zygote die meanwhile, nobody else has what was written, nor learns how it ends.
        """
        state = self.state
        undrained = state.phase == "exited" and not state.settled
        if (state.phase in ("starting", "running") or undrained) and not self.stepwise.task:
            self.streams.open("")
        if state.phase == "running":
            self.processes.hold(Process(state.pid, state.start_time))
        elif state.phase == "starting" and (found := recorded_init(self._runtime_state(), self.id)):
            self.processes.hold(Process(*found))
        self.execs.hold()

    def _runtime_state(self) -> Path:
        """Ids that clients of containerd's API choose are unique in their namespace only."""
        foreign = self.stepwise.task or self.record.get("options", {}).get("foreign")
        if foreign:
            return Path(str(foreign.get("root") or self.settings.state / "runtimes"), self.namespace)
        return self.settings.state / "runtime"

    def _prepare(self) -> None:
        """Once no copy of files, which would unmount it in the end, has the root mounted."""
        self.copying.when_unmounted(self._make_bundle)

    def _make_bundle(self) -> None:
        """Where the output goes is made while the bundle is."""
        record = self.record
        make = m.BundlesMake(
            self.namespace,
            self.id,
            record["image"],
            record["image_digest"],
            record["options"],
            record["name"],
            record["snapshotter"],
            record["runtime"],
            record["auto_remove"],
        )
        self.ask(make, partial(self._prepared, record["name"]))
        if not self.state.held:
            with contextlib.suppress(OSError):  # it is tried again at the start, and told then
                self.streams.open("")

    def _prepared(self, name: str, result: Any) -> None:
        if isinstance(result, Exception):
            self.launcher.restore_from = None  # that was for this start
            self.happened(self._failure(result))
            return
        if self.record["name"] != name:  # it has been renamed meanwhile, maybe before it was on any network
            self.control.tell_name()
        self.removal.volumes = bool(result["volumes"])
        self.happened(life.Prepared(result["stop_signal"]))

    def _failure(self, error: Exception) -> life.Failed:
        if not isinstance(error, ContainerError | RemoteError | StorageError | OSError):
            raise error
        code = error.exit_code if isinstance(error, RuntimeCommandError) else None
        return life.Failed(str(error), code or CANNOT_START)

    def _start(self) -> None:
        self.processes.let_go()  # of an earlier attempt
        if self.state.held:
            self.processes.run_runtime(self.stepwise.launch, self._launched)
        elif self.delivery.lingers():
            self.processes.run_runtime(lambda: waited(self._launch()), self._launched)
        else:
            self.processes.follow_runtime(self._launch(), self._launched)

    def _launch(self) -> Steps[Running]:
        self.delivery.prepare()
        with self.streams.opened("", self._wants()) as (ends, console):
            failpoints.hit("container", "runtime", "before")
            running = yield from self.launcher.run(ends, console)
            failpoints.hit("container", "runtime", "after")
            return running

    def _launched(self, result: Any) -> None:
        """Nothing is told of a run that retires with its end, if that is a matter of moments."""
        if isinstance(result, Running) and self.removal.is_quiet():
            self.processes.wait_briefly(result.process, BRIEF, lambda: self._runs(result))
        elif isinstance(result, Running):
            self._runs(result)
        else:
            self.streams.discard("")
            self.happened(self._failure(result))

    def _runs(self, running: Running) -> None:
        self.happened(life.Started(running.process.pid, running.process.start_time, running.at))
        if self.birth.footprint:
            self.host.say(op="wrote", pages=self.birth.footprint.pages())

    def _abandon(self) -> None:
        """Its end may be a matter of moments; and what is killed early leaves more behind."""
        run = self.state.run

        def due() -> None:
            if (self.state.run, self.state.phase) == (run, "starting"):
                self.log.warning("the runtime has not come to its end: it is killed")
                self.launcher.abandon()

        self.later(ABANDON_AFTER, due)

    def _inspect(self) -> None:
        self.processes.run_runtime(self.launcher.inspect, self._inspected)

    def _inspected(self, result: Any) -> None:
        if isinstance(result, Running):
            self._runs(result)
        elif isinstance(result, Process):
            self._runs(Running(result, time.time_ns()))  # its end is found by watching it
        elif result is None:
            self.happened(life.NeverStarted())
        else:
            self.happened(self._failure(result))

    def _watch(self) -> None:
        if self.stepwise.task:
            self.stepwise.follow()
        else:
            self.take_output()
            self.delivery.begin()
        target = Process(self.state.pid, self.state.start_time)
        self._brief = self.processes.when_exited(target, self._ended)
        if not self._brief:
            self.oom.begin()
            self.health.begin()

    def take_output(self) -> None:
        """From its pipes or terminal to where it is kept."""
        self.streams.follow("", self._wants())

    def _ended(self, code: int | None, at: int) -> None:
        """Whether memory was the reason can be read only as long as there is a cgroup."""
        self.stepwise.before_exit(at)
        oom = self.oom.happened()
        self.oom.end()
        self.freezing.end()
        self._brief = False
        lasted = Process(self.state.pid, self.state.start_time).age()
        self.happened(life.Exited(code, at, oom, lasted))

    def _restart(self) -> None:
        """By the policy, after a while."""
        run, pause = self.state.run, life.pause_before_restart(self.state)
        self.reports.announce_restart(pause)
        self.later(pause, lambda: self.happened(life.RestartDue(run)))

    def child_exited(self) -> None:
        """An orphan may have come to us, and ended."""
        self.processes.reap_strays()

    def is_watched(self, pid: int) -> bool:
        """Whether this process is one whose exit code somebody will ask for."""
        own = pid == self.state.pid and self.state.phase == "running"
        return own or self.execs.knows(pid)

    def _kill(self) -> None:
        self.control.kill(Process(self.state.pid, self.state.start_time))

    def _release(self) -> None:
        if self.stepwise.task:  # whose output is its client's
            self.stepwise.drain(self._drained_of_client)
            return
        self.streams.drain("", self._wants(), self._drained)

    def _drained(self) -> None:
        """Nothing more comes. The end of one that nobody can start again is told while it is cleaned up.

        Or before: nobody waits for the rest, where that has no name that others could miss or meet.
        """
        if self.state.phase == "exited" and self.removal.is_quiet() and not self.removal.retired:
            self.reports.begin_to_settle(self._retired, final=True)
            return
        if self.state.phase == "exited" and self.state.auto_remove:
            self.reports.begin_to_settle()
        self._clean_up_behind()

    def retires_at_once(self) -> bool:
        """Whether the end of the run is told next, with its start, by the record that it retires with."""
        return self._brief and self.removal.is_quiet()

    def _retired(self) -> None:
        """Its end is durable, and its name is free: whoever waits may go."""
        failpoints.hit("container", "retire", "recorded")
        self.removal.retired = True
        self._answer_exit()
        failpoints.hit("container", "retire", "answered")
        self._clean_up_behind()

    def _drained_of_client(self) -> None:
        """Who waits for the end hears of it while it is cleaned up; who has it forgotten, only then."""
        if self.state.phase == "exited":
            self.reports.begin_to_settle(self._tell_exit)
        self._clean_up_behind()

    def _clean_up_behind(self) -> None:
        self.processes.run_runtime(self.clean_up_run, self._released)

    def clean_up_run(self) -> None:
        """In a worker thread: what the run held, except its snapshot and its output."""
        if self.state.phase == "exited" and self.launcher.can_forget():
            detached = self._begin_to_detach()
            self.launcher.forget()
        else:  # what a failed or cut off start has left, the runtime knows best
            self.launcher.delete()
            detached = self._begin_to_detach()
        files.unmount_rootfs(self.bundle)
        self.removal.release()
        self.removal.left = (detached() or {}).get("left", [])

    def _begin_to_detach(self) -> Callable[[], Any]:
        """What waits until its network is gone; that of a client's container is the client's affair."""
        if self.record["options"].get("foreign"):
            return lambda: None
        return self.begin(m.NetworkDetach(self.namespace, self.id), limit=DETACH_LIMIT)

    def _released(self, result: Any) -> None:
        if isinstance(result, Exception):
            self.log.warning("cleaning up after the run: %s; tried again", result)
            self.later(1.0, self._release)
        else:
            self.happened(life.Released())

    def _clean_up(self) -> None:
        files.unmount_all(self.bundle)
        shutil.rmtree(self.settings.logs(self.namespace, self.id), ignore_errors=True)
        shutil.rmtree(self.bundle, ignore_errors=True)
        self.copying.clear()

    def _finish(self) -> None:
        """Nobody is left without the end of what they follow; then the directories go, and we.

        Of a container that removes itself, the output is kept for a moment for a client that is only just
        coming to ask for it: a short run can be faster than its client.
        """
        if self.streams.busy():
            self.later(0.05, self._finish)
            return
        if self.state.auto_remove and not self.streams.followed:
            self.streams.followed = True
            self.later(LINGER, self._finish)
            return
        self.launcher.abandon()  # an exec whose runtime hangs would be left to nobody
        self._clean_up()
        self.finish()

    def is_idle(self) -> bool:
        """Whether it may sleep: whatever is to happen, the zygote or a request would tell it."""
        parts = (
            self.streams, self.execs, self.freezing, self.control, self.health, self.processes, self.stepwise,
        )  # fmt: skip
        awake = self.degraded.on or not super().is_idle()
        return not awake and self._is_at_rest() and all(part.is_idle() for part in parts)

    def _is_at_rest(self) -> bool:
        """Whether the container is in a state that lasts, and needs nobody beside it.

        Of standard input that is no terminal, only we would see that its process has closed it.
        """
        state, options = self.state, self.record.get("options", {})
        ending = state.remove or state.halted or state.again or bool(state.cause)
        running = state.phase == "running" and not ending
        told = state.settled or not state.run or self.stepwise.has_forgotten()
        over = state.phase in ("created", "exited") and told
        pipe = options.get("stdin") and not options.get("terminal")
        lasts = running or (over and not life.starts_again(state) and not state.auto_remove)
        settled = not pipe and not self.journal.waits
        return lasts and settled and self.delivery.is_idle() and self.copying.is_idle()

    def wakers(self) -> list[str]:
        """The keys of what the zygote keeps of it, and is to watch while it sleeps."""
        if self.state.phase != "running":
            return []
        process = shelf(Process(self.state.pid, self.state.start_time))
        if self.stepwise.task:
            return [process, *self.stepwise.lines.wakers(), *self.oom.wakers()]
        # Its output has the empty one.
        return ["", process, *self.streams.channels.wakers(""), *self.oom.wakers()]


_PERFORM: dict[Effect, Callable[[ContainerActor], None]] = {
    Effect.SAVE: ContainerActor.save,
    Effect.PREPARE: ContainerActor._prepare,  # noqa: SLF001  # the table belongs to the class
    Effect.START: ContainerActor._start,  # noqa: SLF001
    Effect.ABANDON: ContainerActor._abandon,  # noqa: SLF001
    Effect.INSPECT: ContainerActor._inspect,  # noqa: SLF001
    Effect.WATCH: ContainerActor._watch,  # noqa: SLF001
    Effect.KILL: ContainerActor._kill,  # noqa: SLF001
    Effect.STOP: lambda actor: actor.control.stop_again(),
    Effect.RELEASE: ContainerActor._release,  # noqa: SLF001
    Effect.REPORT: lambda actor: actor.reports.report(),
    Effect.ANNOUNCE_CREATE: lambda actor: actor.reports.announce_create(),
    Effect.ANNOUNCE_START: lambda actor: actor.reports.announce_start(),
    Effect.FOLLOW: lambda actor: actor.control.follow_again(),
    Effect.ANNOUNCE_TURN: lambda actor: actor.reports.announce_turn(),
    Effect.SETTLE: lambda actor: actor.reports.settle(),
    Effect.REMOVE: lambda actor: actor.removal.begin(),
    Effect.RESTART: ContainerActor._restart,  # noqa: SLF001
    Effect.ANSWER_START: ContainerActor._answer_start,  # noqa: SLF001
    Effect.ANSWER_EXIT: ContainerActor._answer_exit,  # noqa: SLF001
    Effect.ANSWER_REMOVED: ContainerActor._answer_removed,  # noqa: SLF001
    Effect.FINISH: ContainerActor._finish,  # noqa: SLF001
}
