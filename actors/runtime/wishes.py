"""What the caller of `containers.create` may put into `options`: typed, checked, and nothing else.

Kept on record as it came; read again at each start. Empty means: as the image says, else the default.
Sizes are bytes, times seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from actors.runtime import binary_logger
from actors.runtime.cutting import Limits
from actors.runtime.errors import InvalidSpecError

Sharing = Literal["", "host"]
SMALLEST_MEMORY = 6 << 20  # bytes; with less, not even the runtime's own start fits in
SMALLEST_LOG = 1 << 16  # bytes of a piece; as much as comes in one go
MOST_FILES = 1000
WAITING = 16 << 20  # bytes of each of two pieces that wait for somebody else's log
WINDOW = 1 << 20  # bytes of each of the two pieces that followers are served from where nothing is kept


@dataclass(frozen=True, slots=True)
class Ulimit:
    """A resource limit: `name` as setrlimit(2) has it, less RLIMIT_, in any case; -1 for no limit."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class DeviceWish:
    """A device node of the host; `target` empty for the same path, `access` of r, w and m."""

    source: str
    target: str = ""
    access: str = "rwm"


@dataclass(frozen=True, slots=True)
class MountWish:
    """Something to mount: a directory or file of the host, a named volume, or memory.

    A volume without a name is the container's own and goes with it. `options` are mount options; a volume
    that is new is filled with what the image has at `target`, unless `nocopy`.
    """

    type: Literal["bind", "volume", "tmpfs"]
    target: str
    source: str = ""
    readonly: bool = False
    options: tuple[str, ...] = ()
    nocopy: bool = False


@dataclass(frozen=True, slots=True)
class HealthWish:
    """A command that says whether the container is well, and when to run it. Empty `test`: never."""

    test: tuple[str, ...] = ()
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0


@dataclass(frozen=True, slots=True)
class RestartWish:
    """When to start it again by itself; `tries` bounds on-failure, 0 for no bound."""

    policy: Literal["no", "on-failure", "always", "unless-stopped"] = "no"
    tries: int = 0


@dataclass(frozen=True, slots=True)
class LogWish:
    """What is kept of its output: `max_file` pieces of `max_size` bytes; without a size, all of it.

    The driver `none` keeps no more than those who follow need. `json`, `journald` and `binary` (a `program`,
    as `binary:///path?key=value`) get it besides.
    """

    driver: Literal["file", "none", "json", "journald", "binary"] = "file"
    max_size: int | None = None
    max_file: int = 1
    program: str = ""


@dataclass(frozen=True, slots=True)
class Wishes:
    """Each field is described in docs/protocol.md, "Options of a container"."""

    args: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    hostname: str = ""
    readonly: bool = False
    platform: str = ""
    network: dict[str, Any] = field(default_factory=dict)
    terminal: bool = False
    stdin: bool = False
    console_size: tuple[int, int] | None = None
    init: bool = False
    stop_signal: str = ""
    stop_timeout: float | None = None
    ulimits: tuple[Ulimit, ...] = ()
    oom_score_adj: int | None = None
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    no_new_privileges: bool = True
    seccomp: str | dict[str, Any] = ""
    devices: tuple[DeviceWish, ...] = ()
    sysctls: dict[str, str] = field(default_factory=dict)
    mounts: tuple[MountWish, ...] = ()
    shm_size: int | None = None
    memory: int | None = None
    memory_swap: int | None = None
    memory_reservation: int | None = None
    cpus: float | None = None
    cpu_shares: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int | None = None
    blkio_weight: int | None = None
    pid: Sharing = ""
    ipc: Sharing = ""
    uts: Sharing = ""
    userns: str = ""
    cgroup_parent: str = ""
    annotations: dict[str, str] = field(default_factory=dict)
    hooks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    restart: RestartWish = RestartWish()
    health: HealthWish | None = None
    log: LogWish = LogWish()
    bundle: str = ""
    foreign: dict[str, Any] = field(default_factory=dict)


def wishes(options: Mapping[str, Any]) -> Wishes:
    """Read the options of a record. Raises InvalidSpecError for an unknown or malformed one."""
    unknown = set(options) - set(Wishes.__dataclass_fields__)
    if unknown:
        raise InvalidSpecError(f"unknown option {', '.join(sorted(unknown))}")
    try:
        found = msgspec.convert(options, Wishes)
    except msgspec.ValidationError as error:
        raise InvalidSpecError(f"option: {error}") from error
    _check_numbers(found)
    _check_log(found.log)
    if found.console_size is not None and not all(1 <= side <= 65535 for side in found.console_size):
        raise InvalidSpecError("console size: rows and columns must be from 1 to 65535")
    return found


def log_limits(options: Mapping[str, Any]) -> Limits | None:
    """How much of its output is kept, by the options of a record; None for all of it."""
    log = msgspec.convert(options.get("log") or {}, LogWish)
    if log.driver == "none":
        return Limits(WINDOW, 2)
    if log.max_size is None:
        return Limits(WAITING, 2) if log.driver in ("journald", "binary") else None
    if log.driver == "json":  # which has pieces of its own
        return Limits(max(WAITING, log.max_size), max(2, log.max_file))
    return Limits(log.max_size, log.max_file)


def _check_log(log: LogWish) -> None:
    if log.driver == "none" and log.max_size is not None:
        raise InvalidSpecError("log driver none keeps nothing: it takes no max-size")
    if log.program and log.driver != "binary":
        raise InvalidSpecError(f"log driver {log.driver} has no program: that is for binary")
    if log.driver == "binary":
        binary_logger.parse(log.program)
    if log.max_size is None and log.max_file != 1:
        raise InvalidSpecError("log option max-file counts pieces of max-size: give max-size too")
    if log.max_size is not None and not SMALLEST_LOG <= log.max_size <= 1 << 50:
        raise InvalidSpecError(f"log option max-size is {log.max_size}: it must be from {SMALLEST_LOG}")
    if not 1 <= log.max_file <= MOST_FILES:
        raise InvalidSpecError(f"log option max-file is {log.max_file}: it must be from 1 to {MOST_FILES}")


def _check_numbers(wish: Wishes) -> None:
    """Numbers that a kernel or runtime would round, clamp or ignore in silence are refused by name."""
    ranges: tuple[tuple[str, float | None, float, float], ...] = (
        ("memory", wish.memory, SMALLEST_MEMORY, 1 << 62),
        ("memory reservation", wish.memory_reservation, SMALLEST_MEMORY, 1 << 62),
        ("cpus", wish.cpus, 0.01, 1 << 20),
        ("cpu shares", wish.cpu_shares, 2, 262144),
        ("pids limit", wish.pids_limit, 1, 1 << 22),
        ("blkio weight", wish.blkio_weight, 10, 1000),
        ("oom score adjustment", wish.oom_score_adj, -1000, 1000),
        ("shm size", wish.shm_size, 4096, 1 << 62),
        ("stop timeout", wish.stop_timeout, 0, 7 * 86400),
    )
    for name, value, least, most in ranges:
        if value is not None and not least <= value <= most:
            bounds = f"at least {least}" if most == 1 << 62 else f"from {least} to {most}"
            raise InvalidSpecError(f"{name} is {value}: it must be {bounds}")
    if (
        wish.memory_swap is not None
        and wish.memory_swap != -1
        and wish.memory_swap < (wish.memory or 1 << 62)
    ):
        raise InvalidSpecError(
            "memory swap is the sum of memory and swap: give memory too, "
            "and at least as much; or -1 for no limit"
        )
