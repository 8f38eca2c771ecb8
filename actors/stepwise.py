"""A container that its client runs step by step: create, let run, take note of the end.

So it is with clients of containerd's API. They also bring their own FIFOs, which the process gets as they
are: nothing of ours stands in between, so no death of ours can lose a byte or cost a moment. (Standard error
goes through our hands, and terminals do; see actors/client_lines.py.) Output is opened
for both directions: a client that is gone gives neither EPIPE nor SIGPIPE. Of standard input the zygote, and
its keeper, have a writing end until `tasks.close_io`: the end does not come before the first writer, nor by
our death.
"""

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from actors import failpoints
from actors import lifecycle as life
from actors import messages as m
from actors.call import BEGUN, LATER, Call, Later
from actors.client_lines import Lines, is_fifo, refuse_no_name
from actors.linux.pidfd import Process
from actors.runtime import bundle as files
from actors.runtime import log_program
from actors.runtime.binary_logger import SCHEME
from actors.runtime.errors import CANNOT_START, ContainerError, RuntimeCommandError
from actors.runtime.launch import Running
from transport.errors import RemoteError

if TYPE_CHECKING:
    from actors.container import ContainerActor

FILE: Final = "file://"
_FILE_MODE: Final = 0o640
_DIRECTORY_MODE: Final = 0o755
ENDED: Final = ("pid", "start_time", "run", "exit_code", "known", "exited_at")
"""Of a run that its client has taken note of, what it is told if it asks once more."""


class Stepwise:
    """Used in the actor's thread, but for what says otherwise."""

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._letting: list[Call] = []  # who wait for the runtime to let the program run
        self._deleting: list[tuple[Call, str]] = []
        self.task: dict[str, Any] = {}
        self.lines = Lines(actor)

    def read(self) -> None:
        """What its client has said, as the last incarnation kept it."""
        self.task = files.read_task(self._actor.bundle)

    def io(self) -> dict[str, str]:
        """The client's names of its standard streams."""
        return {name: self.task.get(name, "") for name in ("stdin", "stdout", "stderr")}

    def is_idle(self) -> bool:
        """Whether nobody waits for us, and nothing for a client. One that is held is about to be let go."""
        state = self._actor.state
        held = state.phase == "running" and state.held
        return not (held or self._letting or self._deleting) and self.lines.is_idle()

    def has_forgotten(self) -> bool:
        """Whether its client has taken note of its last run, so that nothing is left of that."""
        ended: dict[str, Any] = self.task.get("ended", {})
        return ended.get("run") == self._actor.state.run

    def recover(self) -> None:
        """Its program may have been let run without our having heard of it."""
        state = self._actor.state
        if state.phase == "running" and state.held and not self._actor.launcher.is_held():
            self._actor.happened(life.LetRun(time.time_ns()))

    def _is_again(self, verb: str, token: str) -> bool:
        """Whether this very request has been begun before: its answer may have been lost with somebody."""
        return bool(token) and self.task.get("tokens", {}).get(verb) == token

    def _begun(self, verb: str, token: str, **more: Any) -> None:
        self.task = {**self.task, **more, "tokens": {**self.task.get("tokens", {}), verb: token}}
        files.write_task(self._actor.bundle, self.task)

    def _take_back(self, verb: str) -> None:
        """It has come to nothing."""
        tokens = {name: token for name, token in self.task.get("tokens", {}).items() if name != verb}
        self.task = {**self.task, "tokens": tokens}
        files.write_task(self._actor.bundle, self.task)

    # Creating

    def create(self, body: m.TasksCreate, call: Call) -> Later:
        """Make the process, from the record as it is now. Raises RemoteError."""
        actor = self._actor
        if not actor.record["options"].get("foreign"):
            text = f"container {actor.record['name']} was not created by this API; use tasks.start"
            raise RemoteError("failed_precondition", text)
        refuse_no_name(body.stdin, body.stdout, body.stderr)
        if self._is_made(body.token, call):
            return LATER

        def loaded(result: Any) -> None:
            if isinstance(result, Exception):
                call.fail(result)
                return
            try:
                if self._is_made(body.token, call):  # meanwhile
                    return
            except RemoteError as error:
                call.fail(error)
                return
            actor.record = result
            self.task = _noted(body, actor.record["options"]["foreign"].get("root", ""))
            self._begun("create", body.token, begins=actor.state.run + 1)
            actor.wait_for_start(call)
            actor.happened(life.Create())

        if body.updated_at and body.updated_at == actor.record["updated_at"]:
            loaded(actor.record)
        else:
            actor.ask(m.ContainersGet(actor.namespace, actor.id), loaded)
        return LATER

    def _is_made(self, token: str, call: Call) -> bool:
        """Answer one that is asked again. Raises RemoteError: somebody else has made it."""
        if self._is_again("create", token) and self._created(call):
            return True
        state = self._actor.state
        if state.phase != "created" or (state.error and not state.settled):
            raise RemoteError("already_exists", f"task {self._actor.id}: already exists")
        return False

    def _created(self, call: Call) -> bool:
        """Answer one that is asked again; False when it has not been begun after all."""
        state = self._actor.state
        if state.run < self.task.get("begins", 0):  # what is known is of the run before
            return False
        if state.phase in ("running", "exited") or (state.error and state.settled):
            started = {"status": state.phase, "pid": state.pid}
            call.settle(self._actor.exit_answer() if state.error else started)
        elif state.phase in ("preparing", "starting") or state.error:
            self._actor.wait_for_start(call)
        else:
            return False
        return True

    def launch(self) -> Running:
        """In a worker thread."""
        flags = {name: self.task[name] for name in ("no_pivot", "no_new_keyring")}
        if self.task["terminal"]:
            with self.lines.opened("", self._actor.bundle, self._io()) as console:
                return self._actor.launcher.create({}, console, **flags)
        with self.ends("", self._io()) as ends:
            created = self._actor.launcher.create(ends, **flags)
        failpoints.hit("container", "create", "unrecorded")
        return created

    def _io(self) -> list[str]:
        return [self.task[name] for name in ("stdin", "stdout", "stderr")]

    @contextlib.contextmanager
    def ends(self, name: str, io: Sequence[str]) -> Iterator[dict[int, int]]:
        """Descriptors for a process; none for an empty name. In a worker thread. Raises OSError.

        The zygote has a client's until the process is on record (`Lines.follow`): who comes after one that
        died before that ends it and makes another, and the client must not hear meanwhile that this was all.
        """
        with contextlib.ExitStack() as stack:
            found = self._opened(io, stack)
            self.lines.hold(name, list(found.values()))
            with contextlib.ExitStack() as failing:
                failing.callback(self.lines.let_go, name)
                self._complete(name, io, found, stack)
                yield found
                failing.pop_all()

    def _complete(
        self, name: str, io: Sequence[str], found: dict[int, int], stack: contextlib.ExitStack
    ) -> None:
        """What more a process needs than its client's own descriptors, which become its user's."""
        for number in found.keys() & {1, 2}:
            self._own(found[number])
        if io[0]:
            self._keep_input(name, io[0])
        if any(said.startswith(SCHEME) for said in io[1:]):
            found |= stack.enter_context(self._logger(io))
        if is_fifo(io[2]):
            found[2] = stack.enter_context(self.lines.errors(name, found[2]))
            self._own(found[2])

    def _logger(self, io: Sequence[str]) -> contextlib.AbstractContextManager[dict[int, int]]:
        if io[1] != io[2]:
            raise ContainerError("a logger takes both, standard output and standard error")
        return log_program.ends(io[1], self._actor.namespace, self._actor.id)

    @staticmethod
    def _opened(io: Sequence[str], stack: contextlib.ExitStack) -> dict[int, int]:
        """What can be opened by its name; loggers are programs."""
        found: dict[int, int] = {}
        for number, said in enumerate(io):
            if said and not said.startswith(SCHEME):
                found[number] = _opened(said) if number else _opened_input(said)
                stack.callback(os.close, found[number])
        return found

    def _own(self, descriptor: int) -> None:
        """Give a FIFO to whom its client says: a program of that user can then open /dev/stdout too."""
        uid, gid = self.task.get("io_uid", 0), self.task.get("io_gid", 0)
        if (uid or gid) and stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.fchown(descriptor, uid, gid)

    def _keep_input(self, name: str, path: str) -> None:
        writing = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._actor.host.say([writing], op="keep", key=f"{name}/input", alone=True)
        os.close(writing)
        if self._input_is_closed(name):  # before there was anything to let go of
            self.end_input(name)

    def close_input(self, name: str) -> None:
        """Its client writes no more; noted first, since the process may be only just starting."""
        if name:
            self._actor.execs.close_input(name)
        else:
            self.task = {**self.task, "input_closed": True}
            files.write_task(self._actor.bundle, self.task)
        self.end_input(name)

    def _input_is_closed(self, name: str) -> bool:
        given = self._actor.execs.given(name) if name else self.task
        return bool(given.get("input_closed"))

    def follow(self) -> None:
        """What goes through our hands: its terminal, or its standard error."""
        self.lines.follow("", self._io(), terminal=self.task["terminal"])

    def drain(self, then: Callable[[], None]) -> None:
        """The rest of it; then it is let go of."""
        self.lines.drain("", self._io(), then, terminal=self.task["terminal"])

    def resize(self, name: str, size: tuple[int, int], call: Call) -> None:
        """Tell a terminal, if there is one, its size. Raises RemoteError: its process just starts."""
        phase = self._actor.execs.phase(name) if name else self._actor.state.phase
        if phase in ("preparing", "starting"):
            raise RemoteError("unavailable", "the process is only just starting")
        if not (self._actor.execs.wants(name).terminal if name else self.task["terminal"]):
            call.reply({})
            return
        self.lines.resize(name, size, call)

    def end_input(self, name: str) -> None:
        """The end comes when whoever else writes has closed; saying it twice is fine."""
        self._actor.host.say(op="drop", key=f"{name}/input")

    # Letting it run

    def let_run(self, body: m.TasksLetRun, call: Call) -> Later:
        """Let the program run. Raises RemoteError: it does, or has, or there is none."""
        state = self._actor.state
        again = self._is_again("let_run", body.token)
        if again and state.phase in ("running", "exited") and not state.held:
            call.reply({"pid": state.pid})
            return LATER
        over = state.phase == "exited"
        if state.phase != "running" and not over:
            raise RemoteError("failed_precondition", f"cannot start a {state.phase} process")
        if self._deleting:
            raise RemoteError("failed_precondition", "cannot start a process that is being deleted")
        if over or not state.held or (self._letting and not again):
            text = f"cannot start a {'stopped' if over else 'running'} process"
            raise RemoteError("failed_precondition", text, details={BEGUN: True})
        self._letting.append(call)
        if len(self._letting) == 1:
            self._begun("let_run", body.token)
            pid = state.pid
            self._actor.processes.run_runtime(
                self._actor.launcher.start, lambda result: self._let(pid, result)
            )
        return LATER

    def _let(self, pid: int, result: Any) -> None:
        calls, self._letting = self._letting, []
        answer: Any = {"pid": pid}
        if not self._actor.state.held:  # it has run and ended meanwhile, which may confuse the runtime
            pass
        elif isinstance(result, ContainerError | OSError):
            self._take_back("let_run")
            code = result.exit_code if isinstance(result, RuntimeCommandError) else None
            details = {"exit_code": code or CANNOT_START}
            answer = RemoteError("failed_precondition", str(result), outcome="done", details=details)
        elif isinstance(result, Exception):
            raise result
        else:
            self._actor.happened(life.LetRun(time.time_ns()))

        def journalled() -> None:
            for call in calls:
                call.settle(answer)

        self._actor.when_saved(journalled)

    def before_exit(self, at: int) -> None:
        """One that ends, at that time, while it is let run has run: its start is told before its exit.

        So it is, too, where our predecessor had begun with that.
        """
        if self._letting or "let_run" in self.task.get("tokens", {}):
            self._actor.happened(life.LetRun(at))

    # The end

    def delete(self, body: m.TasksDelete, call: Call) -> Later:
        """Forget a run that has ended; one of which nothing has run yet is ended first.

        Raises:
            RemoteError: it runs, or there is none.
        """
        state = self._actor.state
        if state.phase != "exited" and self._is_again("delete", body.token):
            self._tell_deleted(life.State(**self.task["ended"]), [call])
            return LATER
        held = state.phase == "running" and state.held and not self._letting
        if state.phase in ("preparing", "starting", "running") and not held:
            raise RemoteError("failed_precondition", f"task {self._actor.id} must be stopped before deletion")
        if state.phase != "exited" and not held:
            raise RemoteError("not_found", f"task {self._actor.id}: not found")
        self._deleting.append((call, body.token))
        if (
            held
        ):  # whoever dies after the signal, or before, is asked again: it has ended then, or gets another
            self._actor.control.kill(Process(state.pid, state.start_time))
        elif state.settled:
            self.settled()
        return LATER

    def settled(self) -> None:
        """The run is over, durable and announced: those who wait for that may have it forgotten."""
        waiting, self._deleting = self._deleting, []
        state = self._actor.state
        if not waiting or state.phase != "exited":
            return
        token = waiting[0][1]
        self._begun("delete", token, ended={name: getattr(state, name) for name in ENDED})
        self._actor.happened(life.Forget())
        self._actor.execs.clear()
        self.end_input("")
        own = [call for call, named in waiting if named == token]
        self._tell_deleted(state, own if token else own[:1])
        for call, _ in waiting:
            if call.open:
                call.fail(RemoteError("not_found", f"task {self._actor.id}: not found"))

    def _tell_deleted(self, ended: life.State, calls: Sequence[Call]) -> None:
        """Also once more: the event has a key."""
        self._actor.reports.announce_delete(ended)
        code = ended.exit_code if ended.known else None
        for call in calls:
            call.reply({"pid": ended.pid, "exit_code": code, "exited_at": ended.exited_at})


def _noted(body: m.TasksCreate, root: str) -> dict[str, Any]:
    """What the next incarnation has to know of it before it has the record."""
    names = (
        "stdin",
        "stdout",
        "stderr",
        "rootfs",
        "terminal",
        "no_pivot",
        "no_new_keyring",
        "io_uid",
        "io_gid",
    )
    return {**{name: getattr(body, name) for name in names}, "root": root}


def _opened_input(path: str) -> int:
    found = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(found, True)
    return found


def _path(address: str) -> Path:
    """That of a file's address. Raises OSError: it has none."""
    try:
        found = unquote(urlsplit(address).path)
    except ValueError as error:
        raise OSError(f"{address[:256]!r} is not an address of a file") from error
    if not found.startswith("/") or "\0" in found:
        raise OSError(f"{address[:256]!r} is not an address of a file")
    return Path(found)


def _opened(said: str) -> int:
    """Open what a client named; of a file, its directories are made, as containerd does."""
    if said.startswith(FILE):
        path = _path(said)
        path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
    found = os.open(said, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISFIFO(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(f"{said[:256]!r} is not a FIFO")
    os.set_blocking(found, True)
    return found
