"""Apply one layer in a process of its own, forked from the transfer's.

Creating files takes most of the time of an unpacking, and Python lets one thread of a process run at a
time; so each layer gets a process, and several layers several processors. The child does nothing but apply,
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from actors.linux import descriptors, process
from actors.linux.openat2 import open_in_root
from storage import errors
from storage.content.disk import reported
from storage.errors import InvalidArgumentError, StorageError
from storage.layer.apply import Applied, apply_layer
from storage.layer.compression import READ_BYTES, Readable, open_blob
from storage.layer.limits import Limits
from storage.layer.tree import WrongAssumptionError
from storage.snapshotters.contract import Usage
from storage.snapshotters.trees import measure

_PIECE_BYTES = 256 << 10
_LOOK_EVERY = 0.1  # seconds
_FEEDER_ENDS = 1.0  # seconds
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


def apply_in_child(
    layer: Layer, blob: Readable, lowers: Callable[[], Sequence[Path]], look: Callable[[], None]
) -> Files:
    """Apply and wait. For worker threads. What was written is not on the disk yet.

    Where the layer has no lowers yet, `lowers` is called when they are needed, at the end at the latest; what
    it raises is raised here, and ends the child. So does what `look` raises, which is called now and then.

    Raises:
        StorageError: as `apply_layer`.
        WrongAssumptionError: it has to be applied again, in order.
    """
    ours, theirs = descriptors.socket_pair()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, READ_BYTES)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _child(layer, reading, theirs, parent)
    feeder = _Feeder(blob, writing)
    try:
        theirs.close()
        os.close(reading)
        feeder.start()
        found = _answer(ours, lowers, look)
        return Files(layer.upper, Applied(**found["applied"]), Usage(**found["usage"]))
    except StorageError as error:
        raise feeder.error or error from error
    finally:
        ours.close()
        os.kill(pid, signal.SIGKILL)  # not reaped yet, so it is nobody else
        os.waitpid(pid, 0)
        feeder.join(_FEEDER_ENDS)  # longer only where it waits for bytes that nobody needs any more


class _Feeder(threading.Thread):
    """Passes the bytes of a blob on to the child, which needs no part in where they come from."""

    def __init__(self, blob: Readable, pipe: int) -> None:
        super().__init__(name="layer-feeder", daemon=True)
        self._blob = blob
        self._pipe = pipe
        self.error: Exception | None = None

    def run(self) -> None:
        """Until the end of the blob or of the child."""
        try:
            while data := self._blob.read(_PIECE_BYTES):
                view = memoryview(data)
                while view:
                    view = view[os.write(self._pipe, view) :]
        except BrokenPipeError:
            pass  # it wants no more, and says itself why
        except Exception as error:  # noqa: BLE001  # raised by the thread that waits
            self.error = error
        finally:
            os.close(self._pipe)


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
            raise StorageError("layer: the process that applied it was killed, try again") from error
        if "applied" in message:
            return message
        if "error" in message:
            raise _ERRORS.get(message["kind"], StorageError)(message["error"])
        descriptors.send(child, json.dumps([str(path) for path in lowers()]).encode())


def _child(layer: Layer, blob: int, parent: socket.socket, parent_pid: int) -> NoReturn:
    """Right after the fork of a process with threads, of which there is one now. Never returns."""
    try:
        process.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        process.close_descriptors_except([0, 1, 2, blob, parent.fileno()])
        gc.freeze()  # what belongs to the parent's connections must not be finalised here
        descriptors.send(parent, json.dumps(_outcome(layer, blob, parent)).encode())
    finally:
        os._exit(0)


def _later(_: int) -> None:
    """Whoever commits the layer has it written out, for several at once."""


def _outcome(layer: Layer, blob: int, parent: socket.socket) -> dict[str, Any]:
    def lowers() -> list[Path]:
        descriptors.send(parent, b'{"wants": "lowers"}')
        return [Path(one) for one in json.loads(descriptors.receive(parent, _MESSAGE_BYTES)[0])]

    try:
        applied = apply_layer(
            open_blob(os.fdopen(blob, "rb", buffering=0), layer.limits),
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
