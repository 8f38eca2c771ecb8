"""Runs runc or crun for one container and reads what became of it. Called from worker threads.

A call in steps (`Steps`) is not waited for here: who takes them may wait, or see to other things meanwhile.

Each call passes the container's lock on to the runtime's process, so that the next incarnation of an actor
that died during a call waits for its end, by waiting for the lock.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from actors import failpoints
from actors.linux import cgroup_view, cgroups, migration, mounts, pidfd, sealed, unseen
from actors.linux.pidfd import Process
from actors.linux.spawn import spawn
from actors.runtime import bundle as files
from actors.runtime import filters, stand_ins
from actors.runtime.cgroup_parents import Parents
from actors.runtime.errors import RuntimeCommandError
from actors.runtime.oci_runtime import OciRuntime, failure, is_crun, parse_state, read_log, recorded_init

DELETE_LIMIT = 20.0  # seconds
CALL_LIMIT = 45.0  # seconds for an exec or update, at load 40 too; whoever asks waits for a minute
CHECKPOINT_LIMIT = 3600.0  # seconds: it writes all of the memory to disk
PROGRAM_LIMIT, PROGRAM_PAUSE = 1.0, 0.001  # seconds
FIFO_LOOKS, FIFO_PAUSE = 10, 100  # how often, and milliseconds each, what is let go is waited for
LOCK_NUMBER = 3  # the descriptor under which the runtime inherits the lock
_MAKES_PROCESSES = frozenset(["run", "create", "restore", "exec"])
_Result = TypeVar("_Result")
Steps = Generator[int, int, _Result]
"""Gives the pid of a process that it has started, and wants its wait status; then comes the result."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process that the runtime has started; `at` in nanoseconds since the epoch."""

    process: Process
    at: int


class Launcher:
    """The runtime, as one container's actor uses it."""

    def __init__(
        self,
        program: str,
        state: Path,
        container: str,
        bundle: Path,
        lock: int,
        kept: Path,
        parents: Parents | None = None,
    ) -> None:
        """`state` is the runtime's own directory; `lock` a descriptor to pass on; `kept` has the filters.

        `parents` sees to the cgroups above the container's, where these are not the daemon's own.
        """
        self._runtime = OciRuntime(program, state)
        self._state = state
        self._id = container
        self._bundle = bundle
        self._lock = lock
        self._is_crun = is_crun(program)
        self._kept = kept
        self._parents = parents
        self._binary = ""  # where it was found last
        self._under_way: set[int] = set()  # pids of the runtime's processes whose ends are waited for
        self.program = program
        self.restore_from: Path | None = None  # a checkpoint that the next start is made from

    def run(self, ends: Mapping[int, int], console: Path | None = None) -> Steps[Running]:
        """Create and start the container; `ends` are its standard descriptors, or `console` takes a terminal.

        Raises:
            RuntimeCommandError: it could not be started; nothing of it is left.
        """
        pid_file = self._bundle / files.PID_FILE
        pid_file.unlink(missing_ok=True)
        log = self._fresh_log()
        images, self.restore_from = self.restore_from, None
        if images is not None:
            command = self._runtime.restore(self._id, self._bundle, pid_file, images, log)
            with self._below_parents():
                yield from self._steps("restore", command, log, ends)
            return _running(pid_file)
        command = self._runtime.run(self._id, self._bundle, pid_file, log, console_socket=console)
        with self._below_parents():
            yield from self._steps("run", command, log, ends)
        self._keep_filter()
        return self.begun(_running(pid_file).process)

    def _below_parents(self) -> AbstractContextManager[None]:
        return self._parents.entered(self._cgroups_path()) if self._parents else contextlib.nullcontext()

    def begun(self, process: Process) -> Running:
        """What the runtime has started, once the program has taken its place: signals are the program's."""
        at = time.time_ns()
        _wait_for_program(process.pid, self._path())
        return Running(process, at)

    def create(self, ends: Mapping[int, int], console: Path | None = None, **flags: bool) -> Running:
        """As `run`, but the program is held until `start`. Flags: `no_pivot`, `no_new_keyring`."""
        pid_file = self._bundle / files.PID_FILE
        pid_file.unlink(missing_ok=True)
        log = self._fresh_log()
        command = self._runtime.create(self._id, self._bundle, pid_file, log, console_socket=console, **flags)
        self._do("create", command, log, ends)
        self._keep_filter()
        return _running(pid_file)

    def _keep_filter(self) -> None:
        if self._is_crun and files.has_filter_to_make(self._bundle):
            made = self._state / self._id / filters.MADE
            filters.keep(files.read_spec(self._bundle), self._kept, self.program, made)

    def start(self) -> None:
        """Let the program of a created container run. Raises RuntimeCommandError."""
        recorded = recorded_init(self._state, self._id)
        held = Process(*recorded) if recorded else None
        if held is None or not self._can_let_go() or not self._let_go(held):
            log = self._own_log("start")
            self._do("start", self._runtime.start(self._id, log), log, {})
        if held is not None:
            self.begun(held)

    def _can_let_go(self) -> bool:
        """Whether `_let_go` does all that the runtime's start does: only of runc that is known."""
        return Path(self.program).name == "runc" and not files.has_hooks(self._bundle)

    def _let_go(self, held: Process) -> bool:
        """As `start`, without the runtime; False where that has to say what is wrong.

        What runc's start then does is to read what its init writes into this FIFO before the exec, and to
        remove that; starting it for that takes 7 ms, this takes half of one.
        """
        try:
            descriptor = os.open(self._fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            let = _came(descriptor, held) or self._runs_program(held.pid)
        finally:
            os.close(descriptor)
        failpoints.hit("container", "let_go", "read")
        if let:
            self._fifo.unlink(missing_ok=True)
        return let

    @property
    def _fifo(self) -> Path:
        return self._state / self._id / "exec.fifo"

    def _runs_program(self, pid: int) -> bool:
        """Whether it has been let go, whoever did it: what runs is not the runtime any more."""
        try:
            return not _is_runtime(Path(f"/proc/{pid}/exe"), self._path())
        except OSError:  # it has ended
            return False

    def _path(self) -> str:
        return self._binary or shutil.which(self.program) or self.program

    def is_held(self) -> bool:
        """Whether a created container still waits for `start`: runc and crun remove this file by it.

        Who was killed while letting it go may have left the file.
        """
        recorded = recorded_init(self._state, self._id)
        return self._fifo.exists() and not (recorded and self._runs_program(recorded[0]))

    def update(self, limits: Mapping[str, Any]) -> None:
        """Change limits while it runs."""
        path, log = self._bundle / "update.json", self._own_log("update")
        path.write_text(json.dumps(limits))
        self._do("update", self._runtime.update(self._id, path, log), log, {}, CALL_LIMIT)

    def checkpoint(self, images: Path, *, leave_running: bool) -> None:
        """Write the state of its processes."""
        log = self._own_log("checkpoint")
        command = self._runtime.checkpoint(self._id, images, log, leave_running=leave_running)
        self._do("checkpoint", command, log, {}, CHECKPOINT_LIMIT)

    def _own_log(self, verb: str) -> Path:
        """Not the one of a start or stop, which may be under way at the same time."""
        log = self._bundle / f"{verb}.log"
        log.unlink(missing_ok=True)
        return log

    def exec(
        self, directory: Path, process: Path, ends: Mapping[int, int], console: Path | None = None
    ) -> Running:
        """Start one more process in the container; `ends` and `console` as for `run`."""
        pid_file = directory / files.PID_FILE
        log = directory / files.RUNTIME_LOG
        command = self._runtime.exec(self._id, process, pid_file, log, console_socket=console)
        pid_file.unlink(missing_ok=True)
        try:
            self._do("exec", command, log, ends, CALL_LIMIT)
        except RuntimeCommandError:
            _end_half_started(pid_file)
            raise
        return self.begun(_running(pid_file).process)

    def inspect(self) -> Running | Process | None:
        """What became of a start that was cut off: running, the process that has ended, or nothing."""
        recorded = recorded_init(self._state, self._id)
        if recorded is None:
            if (self._state / self._id).exists():  # killed before it had written anything down
                self.delete()
            return None
        process = Process(*recorded)
        log = self._fresh_log()
        with tempfile.TemporaryFile() as answer:
            self._do("state", self._runtime.state(self._id, log), log, {1: answer.fileno()})
            answer.seek(0)
            status = parse_state(answer.read(1 << 20)).status
        if status == "creating" or (status == "created" and process.is_running()):
            self.delete()  # made but not let run: it starts afresh
            return None
        return self.begun(process) if process.is_running() else process

    def delete(self) -> None:
        """Have the runtime forget the container, killing what is left of it; no container is fine.

        What the runtime cannot do, not being installed for example, or not in time, is done without it: a
        container that cannot be removed helps nobody.
        """
        log = self._fresh_log()
        with contextlib.suppress(RuntimeCommandError, OSError):
            command = self._runtime.delete(self._id, log, force=True)
            waited(self._steps("delete", command, log, {}), DELETE_LIMIT)
        self.forget()

    def abandon(self) -> None:
        """SIGKILL to the runtime's processes that are under way; what they have left is for `delete`."""
        for pid in list(self._under_way):
            with contextlib.suppress(ChildProcessError, ProcessLookupError):
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    os.kill(pid, signal.SIGKILL)

    def can_forget(self) -> bool:
        """Whether `forget` does all that the runtime's delete does."""
        return not files.has_hooks(self._bundle) and cgroups.is_a_containers(self._cgroups_path())

    def forget(self) -> None:
        """As `delete`, without the runtime: for a container whose processes have ended, and without hooks.

        What the runtime's delete then does is to remove the cgroups and its own directory; starting it for
        that takes 6 ms (measured with runc 1.1.5), this takes half of one.
        """
        layout, path = cgroups.mounted(), self._cgroups_path()
        if not cgroups.remove_empty(layout, path) and cgroups.is_a_containers(path):
            cgroups.kill(layout, path)
            cgroups.remove(layout, path)
        if self._is_crun and cgroup_view.needs_private_view(layout) and cgroups.is_a_containers(path):
            unseen.remove(layout, path)
        if self._parents:
            self._parents.leave()
        directory = self._state / self._id
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists():  # runc mounts its own program there while it starts; killed, it leaves that
            mounts.umount_below(str(directory))
            shutil.rmtree(directory, ignore_errors=True)

    def _cgroups_path(self) -> str:
        return files.actual_cgroups_path(self._bundle)

    def _fresh_log(self) -> Path:
        log = self._bundle / files.RUNTIME_LOG
        log.unlink(missing_ok=True)
        return log

    def _do(
        self, verb: str, command: list[str], log: Path, ends: Mapping[int, int], limit: float | None = None
    ) -> None:
        """One that has not ended within `limit` seconds is killed, and fails. Raises RuntimeCommandError."""
        began = time.monotonic()
        try:
            waited(self._steps(verb, command, log, ends), limit)
        except RuntimeCommandError as error:
            if limit is None or time.monotonic() - began < limit:
                raise
            text = f"the runtime's {verb} did not come to its end within {limit:g} s, and was killed"
            raise RuntimeCommandError(text) from error

    def _steps(self, verb: str, command: list[str], log: Path, ends: Mapping[int, int]) -> Steps[None]:
        found = shutil.which(command[0])
        if found is None:
            text = f"runtime {command[0]} is not installed; install it or choose another with --runtime"
            raise RuntimeCommandError(text, "failed_precondition")
        self._binary = found

        def start() -> int:
            if verb in _MAKES_PROCESSES:
                migration.expect()  # not before: it would be in the way of what is mounted for a view
            with self._given(verb, ends) as given, self._copied(found) as copy:
                return self._spawned([found, *command[1:]], given, copy)

        pid = self._in_view(start)
        self._under_way.add(pid)
        status = yield pid
        self._under_way.discard(pid)
        if status != 0:
            raise failure(verb, read_log(log))

    def _spawned(self, command: list[str], given: Mapping[int, int], program: int | None) -> int:
        inherit = {LOCK_NUMBER: self._lock}
        try:
            return spawn(
                command,
                stdin=given.get(0),
                stdout=given.get(1),
                stderr=given.get(2),
                inherit=inherit,
                program=program,
            )
        except OSError as error:  # something else has taken its place: half a file, another machine's
            text = f"runtime {command[0]} cannot be executed: {error.strerror}; install it anew"
            raise RuntimeCommandError(text, "failed_precondition") from error

    def _given(self, verb: str, ends: Mapping[int, int]) -> AbstractContextManager[Mapping[int, int]]:
        if verb in _MAKES_PROCESSES:
            return stand_ins.complete(ends)
        return contextlib.nullcontext(ends)

    def _copied(self, found: str) -> AbstractContextManager[int | None]:
        return sealed.copied(found) if self._is_crun else contextlib.nullcontext(None)

    def _in_view(self, work: Callable[[], _Result]) -> _Result:
        layout = cgroups.mounted()
        if self._is_crun and cgroup_view.needs_private_view(layout):
            return cgroup_view.in_private_view(layout, work)
        return work()


def waited(steps: Steps[_Result], limit: float | None = None) -> _Result:
    """Take all steps, waiting for each process. In a worker thread. Raises what they raise.

    One that has not ended within `limit` seconds is killed, and fails.
    """
    try:
        pid = next(steps)
        while True:
            if limit is not None:
                _end_in_time(pid, limit)
            pid = steps.send(os.waitpid(pid, 0)[1])
    except StopIteration as end:
        result: _Result = end.value
        return result


def _end_in_time(pid: int, limit: float) -> None:
    """SIGKILL to our child, unless it has ended by then."""
    descriptor = pidfd.open_pidfd(pid)
    try:
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        if not ended.poll(limit * 1000):
            pidfd.send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)


def _end_half_started(pid_file: Path) -> None:
    """What a runtime that failed, or was killed, has begun and told nobody of goes with it.

    It has come to us, as whoever has taken its pid since would not have.
    """
    with contextlib.suppress(OSError, ValueError):
        target = Process.of(int(pid_file.read_text()))
        descriptor = target.open()
        try:
            if pidfd.parent(target.pid) == os.getpid():
                pidfd.send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


def _came(descriptor: int, held: Process) -> bool:
    """Whether the process has written what it writes before it goes on; it does so at once, if it waits."""
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    for _ in range(FIFO_LOOKS):
        if ready.poll(FIFO_PAUSE):
            return bool(os.read(descriptor, 1))
        if not held.is_running():
            break
    return False


def _wait_for_program(pid: int, runtime: str) -> None:
    """The runtime leaves while its own code still runs in the container, for the last moment before the exec.

    A stop signal that came in that moment would be the runtime's: runc then ends with 2, whatever the program
    would have done. A program that is the runtime itself is waited for in vain, and not for long. `runtime`
    is the path of its program.
    """
    until = time.monotonic() + PROGRAM_LIMIT
    with contextlib.suppress(OSError):  # it has ended
        while _is_runtime(Path(f"/proc/{pid}/exe"), runtime) and time.monotonic() < until:
            time.sleep(PROGRAM_PAUSE)


def _is_runtime(exe: Path, runtime: str) -> bool:
    """Whether a process runs the runtime's program, or the copy in memory that some of them make of it."""
    return exe.samefile(runtime) or str(exe.readlink()).startswith("/memfd:")


def _running(pid_file: Path) -> Running:
    """The process may have ended already: as a child nobody has waited for, it is still on record."""
    pid = int(pid_file.read_text())
    return Running(Process.of(pid), time.time_ns())
