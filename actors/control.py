"""What people do to a running container beside starting and signalling it: pause, update, look, checkpoint.

That it is to be paused is journalled first: the next incarnation brings it about, whoever has died meanwhile.
"""

import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors import failpoints
from actors import lifecycle as life
from actors import messages as m
from actors.call import Call
from actors.linux import cgroup_figures, cgroups, proc_table
from actors.linux.pidfd import Process
from actors.networking.wishes import connections
from actors.processes import signal_process
from actors.runtime import bundle as files
from actors.runtime import composing, resources
from actors.runtime.errors import ContainerError
from actors.runtime.wishes import wishes
from actors.usage import usage
from storage.errors import StorageError
from transport.errors import RemoteError

if TYPE_CHECKING:
    from actors.container import ContainerActor

DEFAULT_GRACE = 10.0  # seconds between the stop signal and SIGKILL
CHECK_LIMIT = 20.0  # seconds that criu may take to say whether it works


class Control:
    """Used in the actor's thread."""

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._changes: deque[Callable[[], None]] = deque()  # of the options, one after the other
        self._restored = (0, Path())  # the last run that was made from a checkpoint, and that
        self._asked_again = False  # somebody wants it stopped who knows of this incarnation

    def _cgroup(self) -> str:
        return files.actual_cgroups_path(self._actor.bundle)

    def is_idle(self) -> bool:
        """Whether no change is on its way to the record."""
        return not self._changes

    # Pausing

    def pause(self, call: Call, *, paused: bool) -> None:
        """Have it stand still, or go on; what is so already is done once more. Told when it is so."""
        self._actor.happened(life.Pause(paused))
        self._actor.when_saved(lambda: self.follow(call.settle))

    def follow(self, then: Callable[[Any], None]) -> None:
        """Bring about what a person wants of it, which is journalled; `then` gets what keeps it from that.

        That it is so is journalled before it is told: each incarnation tells the last turn once more.
        """
        actor, paused = self._actor, self._actor.state.paused

        def followed(result: Any) -> None:
            try:
                actor.refuse_unless_running()
            except RemoteError as error:
                result = error
            stays = actor.state.paused == paused
            if isinstance(result, Exception) and stays and paused:  # it did not come to that
                self.let_go()
            elif stays and not isinstance(result, Exception):
                actor.happened(life.Turned(time.time_ns()))
            actor.when_saved(lambda: then(result))

        actor.freezing.follow(followed)

    def follow_again(self) -> None:
        """As our predecessor had begun to."""

        def followed(result: Any) -> None:
            if isinstance(result, Exception):
                self._actor.log.warning("to be paused, or to go on: %s", result)

        self.follow(followed)

    # Limits

    def update(self, body: m.TasksUpdate, call: Call) -> None:
        """Change limits and policy: first on record, then in the kernel, so that the next start agrees.

        Raises:
            RemoteError: an option is none of those that can change, or cannot be enforced.
        """
        if body.resources:
            self._update_foreign(body.resources, call)
            return
        unknown = sorted(set(body.options) - resources.UPDATABLE - {"restart"})
        if unknown:
            known = ", ".join(sorted(resources.UPDATABLE | {"restart"}))
            raise RemoteError("invalid_argument", f"{unknown[0][:64]!r} cannot be updated; {known} can")
        self._in_turn(lambda: self._update(body, call))

    def _update_foreign(self, limits: Mapping[str, Any], call: Call) -> None:
        """Of a container that its client describes, who keeps what it wants on its own record."""
        actor = self._actor
        if not actor.record["options"].get("foreign") or actor.state.phase != "running":
            text = f"container {actor.record['name']} does not run, or was not created by this API"
            raise RemoteError("failed_precondition", text)
        actor.processes.run_runtime(
            lambda: actor.launcher.update(limits), lambda result: call.settle(_remote(result))
        )

    def _update(self, body: m.TasksUpdate, call: Call) -> None:
        actor = self._actor
        options = {**actor.record["options"], **body.options}
        try:
            wish = wishes(options)
            composing.refuse_unenforceable(wish)
        except ContainerError as error:
            self._next_change()
            call.fail(RemoteError(error.code, str(error)))
            return
        changed = {name: options[name] for name in body.options if name != "restart"}

        def recorded() -> None:
            asked = wish.restart.policy != "no" == actor.state.policy
            actor.happened(life.Policy(wish.restart.policy, wish.restart.tries))
            if asked:  # nobody has put on record what is wanted, since nobody would have asked
                stays = actor.state.phase == "created" or actor.state.halted
                actor.want("stopped" if stays else "running", limit)
            else:
                limit()

        def limit() -> None:
            if changed and actor.state.phase in ("preparing", "starting"):  # with those of before, maybe
                text = f"container {actor.record['name']} is only just being started; try again"
                call.fail(RemoteError("unavailable", text))
                return
            if actor.state.phase != "running" or not changed:
                call.reply({})
                return
            limits = resources.resources(wishes(changed))
            actor.processes.run_runtime(
                lambda: actor.launcher.update(limits), lambda result: call.settle(_remote(result))
            )

        self._record(options, call, recorded)

    def networks(self, body: m.ContainersNetworks, call: Call) -> None:
        """Remember a connection, or forget it."""
        self._in_turn(lambda: self._networks(body, call))

    def _networks(self, body: m.ContainersNetworks, call: Call) -> None:
        options = self._actor.record["options"]
        try:
            network = connections(options.get("network") or {}, body.network, body.wish)
        except StorageError as error:
            self._next_change()
            call.fail(RemoteError(error.code, str(error)))
            return
        self._record({**options, "network": network}, call, call.reply)

    def _in_turn(self, change: Callable[[], None]) -> None:
        """Begin it when the changes before it are on record: it starts from what they have left."""
        self._changes.append(change)
        if len(self._changes) == 1:
            change()

    def _next_change(self) -> None:
        self._changes.popleft()
        if self._changes:
            self._changes[0]()

    def _record(self, options: dict[str, Any], call: Call, then: Callable[[], None]) -> None:
        """Durable before it counts."""
        actor = self._actor

        def recorded(result: Any) -> None:
            if isinstance(result, Exception):
                call.fail(result)
            else:
                actor.record["options"] = options
                then()
            self._next_change()

        actor.ask(m.ContainersUpdate(actor.namespace, actor.id, options=options), recorded)

    def rename(self, name: str, call: Call) -> None:
        """Give it another name, by which others on its networks find it, too."""
        actor = self._actor

        def recorded(result: Any) -> None:
            if isinstance(result, Exception):
                call.fail(result)
                return
            failpoints.hit("container", "rename", "recorded")
            actor.record["name"] = name
            self.tell_name(lambda: call.reply({"name": name}))

        actor.ask(m.ContainersUpdate(actor.namespace, actor.id, name=name), recorded)

    def tell_name(self, then: Callable[[], None] = lambda: None) -> None:
        """To its networks. Each incarnation does, since the one before may have died with that undone."""
        actor, name = self._actor, self._actor.record["name"]

        def known(result: Any) -> None:
            if isinstance(result, Exception):
                actor.log.warning("its network does not know the name %s: %s", name, result)
            then()

        if actor.record["options"].get("network", {}).get("networks"):
            actor.ask(m.NetworkRename(actor.namespace, actor.id, name), known)
        else:
            then()

    # Ending

    def end(self, cause: str) -> None:
        """End it ourselves, as a stop would, but let the policy start it again."""
        self._actor.happened(life.Ended(cause))
        self.signal_to_stop(self.grace())

    def grace(self) -> float:
        """Seconds between the two signals where nobody says how many."""
        said = self._actor.record["options"].get("stop_timeout")
        return DEFAULT_GRACE if said is None else float(said)

    def signal_to_stop(self, grace: float) -> None:
        """The stop signal; then, in time, the other one."""
        self._asked_again = True
        target = self._tell_to_stop()
        self._actor.later(grace, lambda: self.kill(target))

    def stop_again(self) -> None:
        """As our predecessor had begun to. Whoever waits asks again, and says how long it may take."""
        self._asked_again = False
        target = self._tell_to_stop()
        self._actor.later(self.grace(), lambda: None if self._asked_again else self.kill(target))

    def _tell_to_stop(self) -> Process:
        state = self._actor.state
        target = Process(state.pid, state.start_time)
        signal_process(target, signal_number(state.stop_signal))
        self.let_go()
        return target

    def kill(self, target: Process) -> None:
        """SIGKILL, which a process that stands still takes only when it may go on.

        Of an earlier run, whose time to stop is over only now, there is nothing left to do: the next one may
        stand still.
        """
        signal_process(target, signal.SIGKILL)
        state = self._actor.state
        if state.phase == "running" and target == Process(state.pid, state.start_time):
            self._actor.freezing.bar()
            self.let_go()

    def signal_everyone(self, number: int) -> None:
        """Each of its processes; one that stands still takes it when it may go on."""
        cgroups.signal_all(cgroups.mounted(), self._cgroup(), number)

    def let_go(self) -> None:
        """One that stands still goes on, be it for a commit, so that a signal reaches it."""
        paused = self._actor.state.paused
        if paused:
            self._actor.happened(life.Pause(paused=False))
        if paused or not self._actor.freezing.is_idle():
            self._actor.freezing.thaw()

    # Looking

    def processes(self) -> list[dict[str, Any]]:
        """Its processes, execs and what they have forked included."""
        pids = cgroups.processes(cgroups.mounted(), self._cgroup())
        return proc_table.rows(pids)

    def statistics(self, *, figures: bool = False) -> Mapping[str, Any]:
        """What it uses now; None where the kernel does not tell."""
        layout, cgroup = cgroups.mounted(), self._cgroup()
        more = {"figures": cgroup_figures.figures(layout, cgroup)} if figures else {}
        return usage(layout, cgroup, self._actor.state.pid) | more

    # Checkpoints

    def checkpoint(self, body: m.TasksCheckpoint, call: Call) -> None:
        """Write the state of its processes to a directory, with CRIU.

        Raises:
            RemoteError: this host or this runtime cannot, and what to do.
        """
        actor = self._actor
        directory = _checkpoint_directory(body.path)

        def work() -> None:
            self._refuse_without_criu()
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            actor.launcher.checkpoint(directory, leave_running=body.leave_running)

        actor.processes.run_runtime(work, lambda result: call.settle(_remote(result)))

    def restore(self, body: m.TasksRestore, call: Call) -> None:
        """Refuse what cannot be; else the next start is made from the checkpoint."""
        actor = self._actor
        directory = _checkpoint_directory(body.path)

        def checked(result: Any) -> None:
            if isinstance(result, Exception):
                call.fail(_remote(result))
                return
            try:
                self._start_from(directory, call)
            except RemoteError as error:
                call.fail(error)

        # As a call of the runtime: during one, criu's exit code is not reaped by others.
        actor.processes.run_runtime(self._refuse_without_criu, checked)

    def _start_from(self, directory: Path, call: Call) -> None:
        """The next start, and no later one. Raises RemoteError: it is none, or something runs already."""
        actor, run = self._actor, self._actor.state.run
        if actor.state.phase not in ("preparing", "starting", "running"):
            actor.tasks_start(m.TasksStart(), call)
            actor.launcher.restore_from = directory  # its bundle is made first
            self._restored = (run + 1, directory)
        elif self._restored == (run, directory):  # asked for once more
            actor.tasks_start(m.TasksStart(), call)
        else:
            raise RemoteError("failed_precondition", f"container {actor.record['name']} is running")

    def _refuse_without_criu(self) -> None:
        """In a worker thread."""
        runtime = self._actor.launcher.program
        if "runc" not in runtime:
            text = f"runtime {runtime} cannot checkpoint; create the container with --runtime runc"
            raise RemoteError("failed_precondition", text)
        criu = shutil.which("criu")
        if criu is None:
            raise RemoteError(
                "failed_precondition", "checkpoints need criu, which is not installed: install it"
            )
        done = subprocess.run([criu, "check"], capture_output=True, timeout=CHECK_LIMIT, check=False)
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it does not say why"]
            text = f"criu does not work on this kernel: {reason[0][:200]}; see: criu check"
            raise RemoteError("failed_precondition", text)


def _checkpoint_directory(path: str) -> Path:
    if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
        text = f"checkpoint {path[:256]!r} is not an absolute path free of .. and NUL"
        raise RemoteError("invalid_argument", text)
    return Path(path)


def _remote(result: Any) -> Any:
    if isinstance(result, ContainerError):
        return RemoteError(result.code, str(result), outcome="done")
    return result if isinstance(result, Exception) else {}


def signal_number(name: str) -> int:
    """The signal that an image calls its stop signal; SIGTERM for none, or for one that there is not."""
    try:
        number = int(name) if name.isdecimal() else signal.Signals["SIG" + name.upper().removeprefix("SIG")]
    except KeyError:
        return signal.SIGTERM
    return number if number in signal.valid_signals() else signal.SIGTERM
