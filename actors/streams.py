"""Output of a container's processes to the files, and from the files to those who follow it.

The pump's thread copies (see actors/runtime/output.py); the actor's thread reads the files for each
follower, as far as its credit goes. A follower that dies or stalls therefore blocks nobody, and one that
comes back says how far it had come.
"""

import contextlib
import errno
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from actors.call import Call
from actors.channels import Channels, Wants
from actors.linux import descriptors
from actors.messages import TasksOutput
from actors.runtime import bundle as files
from actors.runtime.output import STDERR, STDOUT, Output, Reader, last_bytes, touch
from actors.runtime.wishes import log_limits
from transport.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actors.container import ContainerActor

PART = 1 << 16  # bytes in one partial answer
FIRST_CREDIT = 1 << 20  # bytes, for a client that names none
FULL = (errno.ENOSPC, errno.EDQUOT)
ROOM_AGAIN = 0.5  # seconds until a full disk is tried again


@dataclass(slots=True)
class _Follower:
    call: Call
    reader: Reader
    process: str
    stays: bool


class Streams:
    """Streams of one container: of its first process under the empty name, of its execs under theirs."""

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._outputs: dict[str, Output] = {}
        self._followers: list[_Follower] = []
        self._due: set[str] = set()
        self.channels = Channels(actor)
        self._cramped: set[str] = set()  # whose output has no room
        self._ending: set[str] = set()  # whose last bytes are being copied
        self.followed = False  # whether anybody ever was

    def pipes(self, name: str) -> Path:
        """Directory of a process's FIFOs."""
        return (self._actor.bundle / files.EXECS / name if name else self._actor.bundle) / files.PIPES

    def files(self, name: str) -> Path:
        """Directory of a process's kept output."""
        if name:
            return self._actor.bundle / files.EXECS / name / "output"
        return self._actor.settings.logs(self._actor.namespace, self._actor.id)

    def is_idle(self) -> bool:
        """Whether nobody follows, and nothing waits to be copied or shown."""
        busy = self._followers or self._due or self._cramped or self._ending
        return not busy and self.channels.is_idle()

    # Copying

    def open(self, name: str) -> Output:
        """FIFOs and files for a process that is about to start, or that runs already. In any thread.

        The zygote keeps the FIFOs too: what is in them outlives us.
        """
        if name not in self._outputs:
            output = Output(self.pipes(name), self.files(name))
            self._outputs[name] = output
            self._keep(name, output)
        return self._outputs[name]

    @contextlib.contextmanager
    def opened(self, name: str, wants: Wants) -> "Iterator[tuple[dict[int, int], Path | None]]":
        """For a process that is about to start: its descriptors, and where its terminal is handed over.

        They are closed afterwards.
        """
        output, pipes = self.open(name), self.pipes(name)
        with self.channels.opened(name, wants, pipes) as given:
            ends = {} if wants.terminal else output.writing_ends(pipes)
            offered = ends | ({} if given.stdin is None else {0: given.stdin})
            try:
                if self._actor.record["options"].get("userns"):  # whose owner runc 1.1.5 then leaves as it is
                    for descriptor in offered.values():
                        os.fchmod(descriptor, 0o666)  # the directory lets nobody in
                yield offered, given.path
            finally:
                descriptors.close_all(ends.values())

    def _keep(self, name: str, output: Output) -> None:
        self._actor.host.say(output.descriptors.values(), op="keep", key=name)

    def keep_all(self) -> None:
        """Another zygote: it has not got any of them."""
        self.channels.keep_all()
        for name, output in list(self._outputs.items()):
            self._keep(name, output)

    def follow(self, name: str, wants: Wants) -> None:
        """Begin to copy, and to take input. From here on the log keeps within its limits."""
        output = self.open(name)  # after a crash it was opened before the record was known
        output.limits = log_limits(self._actor.record["options"])

        def watch() -> None:
            for stream in output.descriptors:
                self._watch(name, output, stream)

        self._actor.host.pump.call(watch)
        self.channels.follow(name, wants, output, partial(self._copy, name, output, STDOUT))

    def _watch(self, name: str, output: Output, stream: int) -> None:
        if name not in self._ending and self._outputs.get(name) is output:
            self._actor.host.pump.watch(output.descriptors[stream], partial(self._copy, name, output, stream))

    def _copy(self, name: str, output: Output, stream: int) -> None:
        """In the pump's thread."""
        try:
            copied = output.copy(stream)
        except OSError as error:
            self._actor.host.pump.unwatch(output.descriptors[stream])
            self._wait_for_room(name, error, lambda: self._watch(name, output, stream))
            copied = 1  # some of it may have been
        else:
            self._found_room(name)
        if copied:
            self._actor.sleep.stir()
        if copied and not name:
            self._actor.delivery.wake()
        if copied and name not in self._due:
            self._due.add(name)
            self._actor.soon(lambda: self._served_soon(name))

    def _wait_for_room(self, name: str, error: OSError, then: "Callable[[], None]") -> None:
        """Say so once. What the disk refuses for another reason is a crash."""
        if error.errno not in FULL:
            raise error
        if name not in self._cramped:
            self._cramped.add(name)
            self._actor.log.error("no room for the output, which waits: %s", error.strerror)
        self._actor.host.pump.call_later(ROOM_AGAIN, then)

    def _found_room(self, name: str) -> None:
        if name in self._cramped:
            self._cramped.discard(name)
            self._actor.log.warning("there is room for the output again")

    def _served_soon(self, name: str) -> None:
        self._due.discard(name)
        self.serve(name)

    def drain(self, name: str, wants: Wants, then: "Callable[[], None]") -> None:
        """Copy what is left, also in a terminal; stop copying. `then` runs in the actor's thread.

        Waits for room on a full disk, unless all of it is to be removed: that may be what makes room.
        """
        output = self.open(name)

        def last() -> None:
            self._ending.add(name)
            for descriptor in output.descriptors.values():
                self._actor.host.pump.unwatch(descriptor)
            try:
                self.channels.drain(name, output)
                output.drain()
            except OSError as error:
                if not self._actor.state.remove:
                    self._wait_for_room(name, error, last)
                    return
            self._found_room(name)
            self.channels.discard(name)
            self._actor.soon(lambda: self._drained(name, then))

        def begin() -> None:
            if wants.terminal:
                self.channels.when_known(name, wants, last)
            else:
                last()

        self._actor.host.pump.call(begin)

    def _drained(self, name: str, then: "Callable[[], None]") -> None:
        self.discard(name)
        self.serve(name)
        if not name:
            self._actor.delivery.end()
        then()

    def discard(self, name: str) -> None:
        """Empty and close the FIFOs: what a runtime says of a start that failed is not the program's output.

        Closing alone would not do: the zygote holds them for a moment longer, and who opens them in it finds
        what was left.
        """
        output = self._outputs.pop(name, None)
        self._ending.discard(name)
        if output is not None:
            output.empty()
            output.close()
            self._actor.host.say(op="drop", key=name)

    # Following

    def add(self, wish: TasksOutput, call: Call) -> None:
        """A new follower. Raises RemoteError."""
        self.followed = True
        try:
            offsets, reader = self._reader(wish)
        except OSError as error:  # the disk may be full, or too much be open
            text = f"the output cannot be read: {error.strerror or error}"
            raise RemoteError("failed_precondition", text) from error
        if wish.recent is not None:
            for stream, offset in offsets.items():
                call.part({"stream": stream, "offset": offset, "at": 0})
        call.credit = call.credit or FIRST_CREDIT
        follower = _Follower(call, reader, wish.exec_id, wish.follow)
        self._followers.append(follower)
        self._serve(follower)
        self.prune()

    def _reader(self, wish: TasksOutput) -> tuple[dict[int, int], Reader]:
        directory = self.files(wish.exec_id)
        touch(directory)
        offsets = {STDOUT: wish.stdout, STDERR: wish.stderr}
        if wish.recent is not None:
            offsets = last_bytes(directory, wish.recent)
        return offsets, Reader(directory, offsets)

    def credited(self, call: Call) -> None:
        """This follower takes more."""
        for follower in self._followers:
            if follower.call is call:
                self._serve(follower)
        self.prune()

    def serve(self, name: str) -> None:
        """Give every follower of a process what there is."""
        for follower in self._followers:
            if follower.process == name:
                self._serve(follower)
        self.prune()

    def _serve(self, follower: _Follower) -> None:
        call = follower.call
        while call.open and call.credit > 0:
            found = follower.reader.next(min(PART, call.credit))
            if found is None:
                self._end(follower)
                return
            chunk, content = found
            part = {"stream": chunk.stream, "offset": chunk.start, "at": chunk.at}
            call.part(part | ({"cut": chunk.cut} if chunk.cut else {}), content)

    def _end(self, follower: _Follower) -> None:
        """Nothing more to read: the end for one that does not stay, or when the process has ended."""
        if not follower.stays:
            follower.call.reply({})
        elif follower.process:
            self._end_of_exec(follower)
        elif self._actor.has_settled():
            follower.call.settle(self._actor.exit_answer())

    def _end_of_exec(self, follower: _Follower) -> None:
        """Somebody may have had it forgotten before a slow follower came to its end."""
        execs = self._actor.execs
        if execs.has_ended(follower.process):
            try:
                follower.call.settle(execs.exit_answer(follower.process))
            except RemoteError as error:
                follower.call.fail(error)

    def busy(self) -> bool:
        """Whether somebody has not been told the end yet."""
        self.prune()
        return bool(self._followers)

    def prune(self) -> None:
        """Let go of those that have been answered, or are gone."""
        for follower in self._followers:
            if not follower.call.open:
                follower.reader.close()
        self._followers = [follower for follower in self._followers if follower.call.open]
