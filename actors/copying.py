"""Files in and out of a container, running or not: as a tar, through a file of our own.

A running one is entered by the root of its first process, so that its mounts are seen, though nothing of what
the kernel shows in /proc, /sys and the like; of any other, the root is mounted for the while. Names are
resolved inside that root whatever happens in it meanwhile. The archive goes through an unlinked or private
file, so neither a slow client nor a large directory costs memory.
"""

import contextlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from actors import lifecycle as life
from actors import messages as m
from actors.call import Call
from actors.linux import mountinfo
from actors.linux.openat2 import open_in_root
from actors.linux.pidfd import Process
from actors.linux.process import make_files_as
from actors.runtime import bundle as files
from actors.runtime import id_ranges
from storage.errors import StorageError
from storage.layer.diff import write_tree
from storage.layer.transplant import Landing, unpack
from storage.snapshotters.ids import Shift
from transport.errors import RemoteError

if TYPE_CHECKING:
    from actors.container import ContainerActor

PART = 1 << 18  # bytes in one partial answer
BROKEN_OFF = 3600.0  # seconds without a piece after which none is to be expected: a pipe may be slow
AGAIN = 1.0  # seconds until what could not be cleared up is tried again
KEPT = 60.0  # seconds that the answer to the last piece is kept, for whoever asks once more
_UPLOAD = re.compile(r"[0-9a-f]{16,64}\Z", re.ASCII)
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(slots=True)
class _Upload:
    """What is known of an archive that comes in pieces, beside the file that they are kept in."""

    touched: float = field(default_factory=time.monotonic)
    waiting: list[Call] = field(default_factory=list)  # for it to be unpacked, which is under way then
    result: Any = None  # what came of that


class Copying:
    """Used in the actor's thread, but for what says otherwise."""

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._spool = actor.settings.root / "spool" / actor.namespace / actor.id
        self._reading: dict[Call, IO[bytes]] = {}
        self._uploads: dict[str, _Upload] = {}
        self.mounted = 0  # copies that have the root of a container mounted that does not run
        self._noted = actor.bundle / files.COPYING  # there while one has
        self._one_root = threading.Lock()  # of these: what one mounts another would unmount
        self._waiting: list[Callable[[], None]] = []  # for there to be none of these

    def is_idle(self) -> bool:
        """Whether nothing is on its way in, and no root is mounted."""
        return not self.mounted and not self._uploads

    def recover(self) -> None:
        """Of what is on its way in, the next pieces may come; what else is there was to be unlinked.

        A root that our predecessor had mounted is let go of, before anybody else wants it.
        """
        if self._noted.exists():
            if self._actor.state.phase in ("preparing", "starting", "running"):
                self._noted.unlink()  # a start has taken it over
            else:
                self.mounted += 1
                self._let_go()
        with contextlib.suppress(FileNotFoundError):
            for place in list(self._spool.iterdir()):
                if _UPLOAD.match(place.name):
                    self._uploads[place.name] = self._expected(place.name)
                else:
                    place.unlink()

    def clear(self) -> None:
        """Nothing of what was on its way stays."""
        self._uploads.clear()
        shutil.rmtree(self._spool, ignore_errors=True)

    def when_unmounted(self, then: Callable[[], None]) -> None:
        """Call `then` once no copy has the root mounted: now, as a rule."""
        if self.mounted:
            self._waiting.append(then)
        else:
            then()

    def cancelled(self, call: Call) -> None:
        """Nobody takes the rest of it."""
        if (file := self._reading.pop(call, None)) is not None:
            file.close()

    def get(self, path: str, call: Call) -> None:
        """Pack, then send as the client takes it. Raises RemoteError."""
        _refuse_nul(path)
        process = self._begin()

        def packed(result: Any) -> None:
            self._end(process)
            if isinstance(result, Exception):
                call.fail(_explained(result, path))
                return
            self._reading[call] = result
            call.credit = call.credit or PART
            self.serve(call)

        self._actor.work(lambda: self._pack(path, process), packed)

    def _pack(self, path: str, process: Process | None) -> IO[bytes]:
        """In a worker thread."""
        parent, _, name = os.fsencode("/" + path.strip("/")).rpartition(b"/")
        with (
            self._root(process) as root,
            _opened(open_in_root(root, parent or b"/", _DIRECTORY)) as directory,
        ):
            self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = tempfile.TemporaryFile(dir=self._spool)  # noqa: SIM115  # closed when it has been sent
            try:
                shown = self._shift().back().owner
                hollow = mountinfo.kernel_devices(process.pid) if process is not None else ()
                write_tree(directory, name, file.write, open_in_root=open_in_root, owner=shown, hollow=hollow)
                file.seek(0)
            except BaseException:
                file.close()
                raise
        return file

    def serve(self, call: Call) -> None:
        """Send as much as the client takes."""
        file = self._reading.get(call)
        while file is not None and call.open and call.credit > 0:
            offset = file.tell()
            content = file.read(min(PART, call.credit))
            if not content:
                call.reply({})
            else:
                call.part({"offset": offset}, content)
        if file is not None and not call.open:
            self._reading.pop(call).close()

    def put(self, body: m.FilesPut, call: Call) -> None:
        """Keep a piece; unpack after the last. Raises RemoteError."""
        if not _UPLOAD.match(body.upload):
            raise RemoteError("invalid_argument", "upload is not 16 to 64 hexadecimal digits")
        _refuse_nul(body.path)
        upload = self._uploads.get(body.upload)
        if upload is not None and (upload.waiting or upload.result is not None):
            self._ask_again(upload, body, call)
            return
        if upload is None:
            upload = self._uploads[body.upload] = self._expected(body.upload)
        place = self._keep(body)
        upload.touched = time.monotonic()
        if body.last:
            self._land(upload, place, body, call)
        else:
            call.reply({"offset": body.offset + len(body.data)})

    @staticmethod
    def _ask_again(upload: _Upload, body: m.FilesPut, call: Call) -> None:
        """The answer was lost with a router: nothing is unpacked twice, nor written to while it is."""
        if not body.last:
            raise RemoteError("failed_precondition", "the last piece of this upload has come")
        if upload.result is None:
            upload.waiting.append(call)
        else:
            call.settle(upload.result)

    def _keep(self, body: m.FilesPut) -> Path:
        place = self._spool / body.upload
        try:
            self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
            with place.open("ab") as file:
                if body.offset > file.tell():
                    raise RemoteError("failed_precondition", f"upload has come to {file.tell()} bytes only")
                os.truncate(place, body.offset)  # a piece that came twice
                file.write(body.data)
        except OSError as error:  # the disk may be full
            raise RemoteError("failed_precondition", f"upload: {error.strerror or error}") from error
        return place

    def _land(self, upload: _Upload, place: Path, body: m.FilesPut, call: Call) -> None:
        process = self._begin()
        upload.waiting.append(call)

        def unpacked(result: Any) -> None:
            self._end(process)
            answer = _explained(result, body.path) if isinstance(result, Exception) else {"entries": result}
            waiting, upload.waiting, upload.touched = upload.waiting, [], time.monotonic()
            for one in waiting:
                one.settle(answer)
            if not (isinstance(answer, RemoteError) and answer.retryable):  # else the last piece comes again
                upload.result = answer
                place.unlink(missing_ok=True)

        self._actor.work(lambda: self._unpack(place, body, process), unpacked)

    def _expected(self, name: str) -> _Upload:
        """One that is looked after until nothing more comes of it."""
        upload = _Upload()
        self._actor.later(KEPT, lambda: self._look(name, upload))
        return upload

    def _look(self, name: str, upload: _Upload) -> None:
        """Nobody says so when a client has gone between two pieces."""
        if self._uploads.get(name) is not upload:
            return
        silent = time.monotonic() - upload.touched
        if upload.waiting or silent < (BROKEN_OFF if upload.result is None else KEPT):
            self._actor.later(KEPT, lambda: self._look(name, upload))
            return
        del self._uploads[name]
        (self._spool / name).unlink(missing_ok=True)

    def _unpack(self, place: Path, body: m.FilesPut, process: Process | None) -> int:
        """In a worker thread."""
        path = os.fsencode("/" + body.path.strip("/"))
        if self._shift():
            make_files_as(*self._shift().owner(0, 0))  # as its root: volumes show shifted owners
        with self._root(process) as root, place.open("rb") as file:
            try:
                os.close(open_in_root(root, path, _DIRECTORY))
                landing = Landing(root, path, contents=body.contents, shift=self._shift().owner)
            except (FileNotFoundError, NotADirectoryError):
                parent, _, name = path.rpartition(b"/")
                landing = Landing(root, parent or b"/", top=name, shift=self._shift().owner)
            return unpack(lambda: file.read(PART), landing, open_in_root=open_in_root)

    def _shift(self) -> Shift:
        """From the owners that the container knows to those on the host."""
        ids = id_ranges.parse(self._actor.record["options"].get("userns", ""))
        return ids.shift if ids else Shift()

    # The root

    def _begin(self) -> Process | None:
        """The process whose root it is; without one, the root is mounted for it. Raises RemoteError."""
        state, name = self._actor.state, self._actor.record["name"]
        if state.phase == "running":
            return Process(state.pid, state.start_time)
        if state.phase not in ("created", "exited"):
            raise RemoteError(
                "failed_precondition", f"container {name} is {state.phase}; try again in a moment"
            )
        if refusal := life.refuse_start(state):
            raise RemoteError("unavailable", f"container {name} {refusal}")
        if self._actor.record["options"].get("foreign") and not self._actor.stepwise.task:
            text = f"container {name} has no root yet: its client names one when it has a task created"
            raise RemoteError("failed_precondition", text)
        self.mounted += 1
        return None

    def _end(self, process: Process | None) -> None:
        self.mounted -= process is None
        if not self.mounted:
            waiting, self._waiting = self._waiting, []
            for then in waiting:
                then()

    @contextlib.contextmanager
    def _root(self, process: Process | None) -> Iterator[int]:
        """A descriptor of the container's root."""
        if process is not None:
            with _opened(_root_of(process)) as root:
                yield root
            return
        actor, record = self._actor, self._actor.record
        # Nothing runs in it: networks that are gone and ports that others have by now stand in nobody's way.
        record = {**record, "options": {**record["options"], "network": {}}}
        names = ("image", "image_digest", "options", "name", "snapshotter")
        with self._one_root:
            self._noted.touch(mode=0o600)
            try:
                actor.call(m.BundlesMake(actor.namespace, actor.id, *(record[name] for name in names)))
                with _opened(os.open(actor.bundle / files.ROOTFS, _DIRECTORY)) as root:
                    yield root
            finally:
                self._unmount()

    def _unmount(self) -> None:
        """What has been made for a copy goes; until then it is noted, for whoever comes after a crash."""
        files.unmount_rootfs(self._actor.bundle)
        self._actor.call(m.NetworkDetach(self._actor.namespace, self._actor.id))
        self._noted.unlink(missing_ok=True)

    def _let_go(self) -> None:
        """Of a root that nobody reads any more: had once more, since it may only just be being mounted."""

        def again() -> None:
            with self._root(None):
                pass

        self._actor.work(again, self._let_gone)

    def _let_gone(self, result: Any) -> None:
        """Whether it could be mounted is nobody's concern, if it is not any more."""
        if self._noted.exists():
            self._actor.log.warning("clearing up after a copy: %s; tried again", result)
            self._actor.later(AGAIN, self._let_go)
        else:
            self._end(None)


def _refuse_nul(path: str) -> None:
    if "\0" in path:
        raise RemoteError("invalid_argument", "no path has a NUL byte in it")


def _root_of(process: Process) -> int:
    with contextlib.suppress(FileNotFoundError):
        root = os.open(f"/proc/{process.pid}/root", _DIRECTORY)
        if process.is_running():
            return root
        os.close(root)
    raise RemoteError("unavailable", "the container has just ended; try again")


@contextlib.contextmanager
def _opened(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _explained(error: Exception, path: str) -> Exception:
    if isinstance(error, RemoteError | StorageError):
        return error
    if isinstance(error, FileNotFoundError):
        return RemoteError("not_found", f"{path[:256]} is not in the container", outcome="done")
    if isinstance(error, OSError):
        reason = (error.strerror or str(error)).lower()
        return RemoteError("failed_precondition", f"{path[:256]}: {reason}", outcome="done")
    return error
