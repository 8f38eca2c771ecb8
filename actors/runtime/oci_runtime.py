"""Command lines of runc and crun, and what their answers mean.

Pure but for the two readers of files that a runtime leaves. Both runtimes take the same words; they differ
in their errors, and in the file that remembers the init process.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.runtime.errors import RuntimeCommandError

_MOST_LOG_BYTES = 1 << 20
_MOST_STATE_BYTES = 4 << 20
_MOST_TEXT = 4096
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,1023}\Z", re.ASCII)


def is_crun(program: str) -> bool:
    """Whether a runtime is crun, of whatever path."""
    return "crun" in program


@dataclass(frozen=True, slots=True)
class OciRuntime:
    """A runtime: its program (a path or a name for PATH) and the directory in which it keeps its state."""

    program: str
    root: Path

    def _command(self, log: Path, verb: str, *words: str | Path) -> list[str]:
        start = [self.program, "--root", str(self.root), "--log", str(log), "--log-format", "json"]
        return [*start, verb, *map(str, words)]

    def run(self, container_id: str, bundle: Path, pid_file: Path, log: Path, **options: Any) -> list[str]:
        """Create and start, in the background. Options: as `create`."""
        words = ["--detach", *_creation(bundle, pid_file, **options)]
        return self._command(log, "run", *words, _checked(container_id))

    def create(self, container_id: str, bundle: Path, pid_file: Path, log: Path, **options: Any) -> list[str]:
        """Make everything but start the program.

        Options: `console_socket` (a path, for a terminal), `preserve_fds` (how many from 3 on),
        `no_pivot`, `no_new_keyring`.
        """
        return self._command(log, "create", *_creation(bundle, pid_file, **options), _checked(container_id))

    def start(self, container_id: str, log: Path) -> list[str]:
        """Let the program of a created container run."""
        return self._command(log, "start", _checked(container_id))

    def exec(
        self,
        container_id: str,
        process: Path,
        pid_file: Path,
        log: Path,
        *,
        console_socket: Path | None = None,
        preserve_fds: int = 0,
    ) -> list[str]:
        """One more process, described by a file with an OCI `process` object, in the background."""
        words = ["--detach", "--process", str(process), "--pid-file", str(pid_file)]
        if console_socket is not None:
            words += ["--tty", "--console-socket", str(console_socket)]
        if preserve_fds:
            words += ["--preserve-fds", str(preserve_fds)]
        return self._command(log, "exec", *words, _checked(container_id))

    def kill(self, container_id: str, number: int, log: Path, *, everyone: bool = False) -> list[str]:
        """Signal the init process, or all of the container's processes."""
        words = ["--all"] if everyone else []
        return self._command(log, "kill", *words, _checked(container_id), str(number))

    def delete(self, container_id: str, log: Path, *, force: bool = False) -> list[str]:
        """Forget a stopped container, remove its cgroups; `force` kills it first and takes a missing one."""
        words = ["--force"] if force else []
        return self._command(log, "delete", *words, _checked(container_id))

    def state(self, container_id: str, log: Path) -> list[str]:
        """Print the state, for `parse_state`."""
        return self._command(log, "state", _checked(container_id))

    def pause(self, container_id: str, log: Path) -> list[str]:
        """Freeze every process."""
        return self._command(log, "pause", _checked(container_id))

    def resume(self, container_id: str, log: Path) -> list[str]:
        """Thaw every process."""
        return self._command(log, "resume", _checked(container_id))

    def update(self, container_id: str, resources: Path, log: Path) -> list[str]:
        """Change limits; `resources` is a file with a `linux.resources` object."""
        return self._command(log, "update", "--resources", resources, _checked(container_id))

    def checkpoint(self, container_id: str, images: Path, log: Path, *, leave_running: bool) -> list[str]:
        """Write the state of its processes below `images`, with CRIU. crun 1.8.1 cannot."""
        words = ["--image-path", str(images), *(["--leave-running"] if leave_running else [])]
        return self._command(log, "checkpoint", *words, _checked(container_id))

    def restore(self, container_id: str, bundle: Path, pid_file: Path, images: Path, log: Path) -> list[str]:
        """Create it from a checkpoint and let it run, in the background."""
        words = ["--detach", "--image-path", str(images), *_creation(bundle, pid_file)]
        return self._command(log, "restore", *words, _checked(container_id))


def _checked(container_id: str) -> str:
    """An id that cannot be taken for an option or a path."""
    if not _IDENTIFIER.match(container_id):
        raise RuntimeCommandError(f"container id {container_id[:64]!r} is not usable", "invalid_argument")
    return container_id


def _creation(
    bundle: Path,
    pid_file: Path,
    *,
    console_socket: Path | None = None,
    preserve_fds: int = 0,
    no_pivot: bool = False,
    no_new_keyring: bool = False,
) -> list[str]:
    words = ["--bundle", str(bundle), "--pid-file", str(pid_file)]
    if console_socket is not None:
        words += ["--console-socket", str(console_socket)]
    if preserve_fds:
        words += ["--preserve-fds", str(preserve_fds)]
    if no_pivot:
        words.append("--no-pivot")
    if no_new_keyring:
        words.append("--no-new-keyring")
    return words


@dataclass(frozen=True, slots=True)
class State:
    """What `state` prints. `pid` is None when there is no process any more."""

    status: str
    pid: int | None
    bundle: str


def parse_state(output: bytes) -> State:
    """The answer of the `state` command (runtime-spec runtime.md, State).

    Raises:
        RuntimeCommandError: it is not such an answer.
    """
    found = _object(output[:_MOST_STATE_BYTES])
    status, pid = found.get("status"), found.get("pid")
    if not isinstance(status, str):
        raise RuntimeCommandError("the runtime's state is not readable")
    return State(status, pid if isinstance(pid, int) and pid > 0 else None, str(found.get("bundle", "")))


def recorded_init(state: Path, container_id: str) -> tuple[int, int] | None:
    """Pid and start time (clock ticks since boot) of the init process, from the runtime's file in `state`.

    None when there is no such container or file, or it does not tell.
    """
    directory = state / _checked(container_id)
    for name, pid_key, start_key in (
        ("state.json", "init_process_pid", "init_process_start"),  # runc
        ("status", "pid", "process-start-time"),  # crun
    ):
        found = _object(_head(directory / name, _MOST_STATE_BYTES))
        pid, start = found.get(pid_key), found.get(start_key)
        if isinstance(pid, int) and isinstance(start, int) and pid > 0:
            return pid, start
    return None


def _head(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        return b""


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_log(path: Path) -> list[str]:
    """The error messages of a runtime's JSON log, in order; no file, no messages. The end of a huge one."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _MOST_LOG_BYTES))
            content = file.read(_MOST_LOG_BYTES)
    except FileNotFoundError:
        return []
    entries = (_object(line) for line in content.splitlines())
    return [str(entry["msg"])[:_MOST_TEXT] for entry in entries if _is_error(entry)]


def _is_error(entry: dict[str, Any]) -> bool:
    return "msg" in entry and entry.get("level") in {"error", "fatal", "panic"}


# Matched at the start of a message, where no program or path that the caller named can stand. The texts are
# those of runc and crun.
_KINDS: tuple[tuple[str, str], ...] = (
    (r"container (.* )?does not exist", "not_found"),
    (r"(error opening file .*/status|cannot open directory).*: no such file", "not_found"),
    (r"container .*already exists|container with id exists", "already_exists"),
    (r"(the )?container (\S+ )?(is )?not running|(kill container|open pidfd): no such process", "gone"),
    (r"process already finished|no such process", "gone"),
    (r"cannot (start|exec|pause|resume|delete|kill) ", "failed_precondition"),
    (r"(the )?container (\S+ )?(is )?not (paused|in )|cannot open .*exec\.fifo", "failed_precondition"),
)
_PREFIX = r"((runc \w+|exec) failed: )?"
_STARTS: tuple[tuple[str, int], ...] = (
    (r"not a directory", 127),
    (r"permission denied|is a directory|executable.*operation not permitted", 126),
    (r"executable file not found|executable file .* not found|no such file or directory", 127),
)
_STARTING = frozenset({"run", "create", "start", "exec"})
_ABOUT_PROGRAM = re.compile(r"exec|chdir|cwd|unable to start container process", re.IGNORECASE)


def failure(verb: str, messages: Iterable[str], stderr: bytes = b"") -> RuntimeCommandError:
    """The error that a failed command stands for, from its log and, when that is empty, what it printed.

    Signalling a process that is gone is `not_found`; any other verb on it is `failed_precondition`. Exit
    codes are for `run`, `create`, `start` and `exec`, whose program could not be executed.
    """
    parts = list(dict.fromkeys(messages)) or [stderr[:_MOST_TEXT].decode(errors="replace")]
    text = " ".join("; ".join(parts).split())[:_MOST_TEXT]
    code = next((kind for part in parts if (kind := _kind(part, verb))), "internal")
    exit_code = _exit_code(text) if code == "internal" and verb in _STARTING else None
    if exit_code is not None:
        code = "invalid_argument"
    return RuntimeCommandError(text or f"the runtime's {verb} failed and gave no reason", code, exit_code)


def _kind(text: str, verb: str) -> str | None:
    for pattern, kind in _KINDS:
        if re.match(_PREFIX + pattern, text, re.IGNORECASE):
            gone = "not_found" if verb == "kill" else "failed_precondition"
            return gone if kind == "gone" else kind
    return None


def _exit_code(text: str) -> int | None:
    if not _ABOUT_PROGRAM.search(text):
        return None
    return next((code for pattern, code in _STARTS if re.search(pattern, text, re.IGNORECASE)), None)
