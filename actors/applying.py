"""Apply layers in processes of their own, forked from the transfer's.

Creating files takes most of the time of an unpacking, and Python lets one thread of a process run at a
time; so several layers get several processes, and with them several processors. Such a process does nothing
but apply, one layer after the other: a fork for each would have both sides copy the pages that they touch. It
says over a socket when it needs the layers below, then how it ended, and dies with its parent.
"""

import fcntl
import gc
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

from actors.layers import Pourable
from actors.linux import descriptors, process
from actors.linux.libc import keep_freed_memory
from actors.linux.openat2 import open_in_root
from storage import errors
from storage.content.disk import reported
from storage.errors import InvalidArgumentError, StorageError
from storage.layer.apply import Applied, apply_layer
from storage.layer.compression import READ_BYTES, open_blob
from storage.layer.limits import Limits
from storage.layer.tree import WrongAssumptionError
from storage.snapshotters.contract import Usage
from storage.snapshotters.trees import measure

_LOOK_EVERY = 0.1  # seconds
_FEEDER_ENDS = 1.0  # seconds
_BUFFERS = 8 * READ_BYTES
_MESSAGE_BYTES = 128 << 10  # room for the directories of as many layers as overlayfs takes
_ERRORS: dict[str, type[StorageError]] = {
    name: one for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, StorageError)
} | {WrongAssumptionError.__name__: WrongAssumptionError}


@dataclass(frozen=True, slots=True)
class Layer:
    """Where a layer goes: into `upper`, in native form unless `overlay`.

    `lowers` is None while the layers below are in the making.
    """

    upper: Path
    limits: Limits
    overlay: bool
    lowers: tuple[Path, ...] | None


@dataclass(frozen=True, slots=True)
class Files:
    """What has become of a layer: its digest and length, and what it takes on the disk."""

    directory: Path
    applied: Applied
    usage: Usage


class Applier:
    """A process that applies layers, one at a time, for as long as the thread lives that has begun it."""

    def __init__(self) -> None:
        ours, theirs = descriptors.socket_pair()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            _child(theirs, parent)
        theirs.close()
        self._socket = ours

    @property
    def is_alive(self) -> bool:
        """Whether nobody has killed it while it had nothing to do."""
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def apply(
        self, layer: Layer, blob: Pourable, lowers: Callable[[], Sequence[Path]], look: Callable[[], None]
    ) -> Files:
        """Apply and wait. For worker threads. What was written is not on the disk yet.

        Where the layer has no lowers yet, `lowers` is called when they are needed, at the end at the latest;
        what it raises is raised here, and ends the process, as everything that is raised. So does what `look`
        raises, which is called now and then.

        Raises:
            StorageError: as `apply_layer`.
            WrongAssumptionError: it has to be applied again, in order.
        """
        feeder = _Feeder(blob)
        try:
            self._order(layer, feeder)
            found = _answer(self._socket, lowers, look)
            return Files(layer.upper, Applied(**found["applied"]), Usage(**found["usage"]))
        except BaseException as error:
            self.close()
            if isinstance(error, StorageError) and feeder.error:
                raise feeder.error from error
            raise
        finally:
            feeder.end()

    def _order(self, layer: Layer, feeder: "_Feeder") -> None:
        """Have it begin."""
        reading, feeder.pipe = os.pipe2(os.O_CLOEXEC)
        feeder.start()
        try:
            fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, READ_BYTES)
            descriptors.send(self._socket, _packed(layer), [reading])
        except ConnectionError as error:
            raise _killed() from error
        finally:
            os.close(reading)

    def close(self) -> None:
        """End it, whatever it does; once."""
        self._socket.close()
        os.kill(self._pid, signal.SIGKILL)  # not reaped yet, so it is nobody else
        os.waitpid(self._pid, 0)


class Appliers:
    """As many processes as apply layers at the same time, for the threads of one unpacking.

    Leaving the context ends them; nothing may be applied by then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Applier] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._idle:
            self._idle.pop().close()

    def apply(
        self, layer: Layer, blob: Pourable, lowers: Callable[[], Sequence[Path]], look: Callable[[], None]
    ) -> Files:
        """As `Applier.apply`, by one that has nothing else to do."""
        applier = self._taken()
        files = applier.apply(layer, blob, lowers, look)
        with self._lock:
            self._idle.append(applier)
        return files

    def _taken(self) -> Applier:
        with self._lock:
            while self._idle:
                found = self._idle.pop()
                if found.is_alive:
                    return found
                found.close()
        return Applier()


class _Feeder(threading.Thread):
    """Passes the bytes of a blob on to the child, which needs no part in where they come from."""

    def __init__(self, blob: Pourable) -> None:
        super().__init__(name="layer-feeder", daemon=True)
        self._blob = blob
        self.pipe = -1
        self.error: Exception | None = None

    def end(self) -> None:
        """Wait for it, if it has begun; not where it waits for bytes that nobody needs any more."""
        if self.ident is not None:
            self.join(_FEEDER_ENDS)

    def run(self) -> None:
        """Until the end of the blob or of the child."""
        try:
            while self._blob.pour(self.pipe):
                pass
        except BrokenPipeError:
            pass  # it wants no more, and says itself why
        except Exception as error:  # noqa: BLE001  # raised by the thread that waits
            self.error = error
        finally:
            os.close(self.pipe)


def _answer(
    child: socket.socket, lowers: Callable[[], Sequence[Path]], look: Callable[[], None]
) -> dict[str, Any]:
    child.settimeout(_LOOK_EVERY)
    while True:
        try:
            message: dict[str, Any] = json.loads(descriptors.receive(child, _MESSAGE_BYTES)[0])
        except TimeoutError:
            look()
            continue
        except (EOFError, ConnectionError) as error:
            raise _killed() from error
        if "applied" in message:
            return message
        if "error" in message:
            raise _ERRORS.get(message["kind"], StorageError)(message["error"])
        descriptors.send(child, json.dumps([str(path) for path in lowers()]).encode())


def _killed() -> StorageError:
    return StorageError("layer: the process that applied it was killed, try again")


def _packed(layer: Layer) -> bytes:
    fields = asdict(layer) | {"upper": str(layer.upper)}
    if layer.lowers is not None:
        fields["lowers"] = [str(path) for path in layer.lowers]
    return json.dumps(fields).encode()


def _unpacked(data: bytes) -> Layer:
    fields = json.loads(data)
    lowers = None if fields["lowers"] is None else tuple(map(Path, fields["lowers"]))
    return Layer(Path(fields["upper"]), Limits(**fields["limits"]), fields["overlay"], lowers)


def _child(parent: socket.socket, parent_pid: int) -> NoReturn:
    """Right after the fork of a process with threads, of which there is one now. Never returns."""
    try:
        process.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        process.close_descriptors_except([0, 1, 2, parent.fileno()])
        gc.freeze()  # what belongs to the parent's connections must not be finalised here
        keep_freed_memory(_BUFFERS)
        with suppress(EOFError):
            while True:
                order, (blob,) = descriptors.receive(parent, _MESSAGE_BYTES)
                descriptors.send(parent, json.dumps(_outcome(_unpacked(order), blob, parent)).encode())
    finally:
        os._exit(0)


def _later(_: int) -> None:
    """Whoever commits the layer has it written out, for several at once."""


def _outcome(layer: Layer, blob: int, parent: socket.socket) -> dict[str, Any]:
    def lowers() -> list[Path]:
        descriptors.send(parent, b'{"wants": "lowers"}')
        return [Path(one) for one in json.loads(descriptors.receive(parent, _MESSAGE_BYTES)[0])]

    try:
        with os.fdopen(blob, "rb", buffering=0) as stream:
            applied = apply_layer(
                open_blob(stream, layer.limits),
                layer.upper,
                lowers if layer.lowers is None else layer.lowers,
                open_in_root=open_in_root,
                sync=_later,
                limits=layer.limits,
                overlay=layer.overlay,
            )
        with reported("measure a layer"):
            usage = measure(layer.upper)
    except StorageError as error:
        return {"kind": type(error).__name__, "error": str(error)}
    except MemoryError:
        return {"kind": InvalidArgumentError.__name__, "error": "layer: it needs more memory than there is"}
    return {"applied": asdict(applied), "usage": asdict(usage)}
