"""One container: its actor."""

from dataclasses import dataclass, field

from actors.messages.declare import Json, Number, operation


@operation("tasks.start", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksStart:
    """Start it. Answered when it runs (or has run): status, pid.

    Attributes:
        run: which run is wanted, counted from 1: what has been begun already is not begun again. 0: the
            next one, unless one is under way.
    """

    run: Number = 0


@operation("tasks.state", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksState:
    """Answer: phase, pid, exit code and times, execs, paths."""


@operation("tasks.create", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksCreate:
    """Make the process of a container with the option `foreign`, and hold it until `tasks.let_run`.

    Answer: as `tasks.start`. It reads and writes what its client names, not what `tasks.output` and
    `tasks.input` have.

    Attributes:
        rootfs: mounts (`type`, `source`, `options`) that make its root; none if that is mounted already.
        stdin: path of a FIFO; empty for none.
        stdout: path of a FIFO, `file://` and the path of a file, or `binary://` and the path of a program,
            with its arguments as a query, that takes both outputs; empty for none.
        stderr: the same.
        terminal: give it one; all of its output is then standard output.
        no_pivot: make its root without pivot_root.
        no_new_keyring: let it have the keyring of whoever started us.
        io_uid: owner of what it writes to, when that is a FIFO.
        io_gid: the same for the group.
        token: a name that the sender made up for this request: sent again, it is not done again.
        updated_at: of the record as the sender has read it; its actor reads it again if it has another.
    """

    rootfs: list[Json] = field(default_factory=list)
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    no_pivot: bool = False
    terminal: bool = False
    no_new_keyring: bool = False
    io_uid: Number = 0
    io_gid: Number = 0
    token: str = ""
    updated_at: Number = 0


@operation("tasks.let_run", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksLetRun:
    """Let the program of a process that `tasks.create` has made run. Answer: `pid`.

    Attributes:
        token: a name that the sender made up for this request: sent again, it is not done again.
    """

    token: str = ""


@operation("tasks.delete", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksDelete:
    """Take note of the end of what `tasks.create` has made: then another can be made.

    Answer: `pid`, `exit_code` (null for unknown), `exited_at`.

    Attributes:
        token: a name that the sender made up for this request: sent again, it is not done again.
    """

    token: str = ""


@operation("tasks.exec_add", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksExecAdd:
    """Note a further process, to be started by `tasks.exec_start`.

    Attributes:
        process: the object of that name of the OCI runtime specification.
        stdin: this and the others as for `tasks.create`.
    """

    exec_id: str
    process: Json
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False
    token: str = ""


@operation("tasks.exec_start", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksExecStart:
    """Start what `tasks.exec_add` has noted. Answer: `pid`. Where that fails, it can be started once more.

    Attributes:
        token: a name that the sender made up for this request: sent again, it is not done again.
    """

    exec_id: str
    token: str = ""


@operation("tasks.kill", "container")
@dataclass(frozen=True, slots=True)
class TasksKill:
    """Send a signal to its first process, to an exec's, or to every process that it has.

    Attributes:
        everyone: to every process of its cgroup.
    """

    signal: int = 15
    exec_id: str = ""
    everyone: bool = False


@operation("tasks.stop", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksStop:
    """Send the stop signal and, after `grace` seconds, SIGKILL. Answered when it has exited.

    No restart policy starts it again. Without `grace`, as the container's options say, else 10.
    """

    grace: float | None = None


@operation("tasks.restart", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksRestart:
    """Stop it as `tasks.stop` does and start it anew. Answered as `tasks.start`.

    Attributes:
        run: the number of the run that is to begin, as in `tasks.start`: then asking again is no second one.
    """

    grace: float | None = None
    run: Number = 0


@operation("tasks.pause", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksPause:
    """Freeze its processes, until `tasks.resume`. A stop lets them go on."""


@operation("tasks.resume", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksResume:
    """Let its processes go on."""


@operation("tasks.update", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksUpdate:
    """Change limits and the restart policy: on record, and at once if it runs.

    Attributes:
        options: those of `containers.create` that are limits of memory, processors, processes and disks, and
            `restart`. What is absent stays.
        resources: of a container with the option `foreign`, which runs: `linux.resources` of the OCI runtime
            specification. Not on record: whoever described the container does so anew for its next start.
    """

    options: Json = field(default_factory=dict)
    resources: Json = field(default_factory=dict)


@operation("tasks.processes", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksProcesses:
    """Answer: `processes`: pid, pid_inside, ppid, uid, state, memory_bytes, cpu_seconds, command of each."""


@operation("tasks.stats", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksStats:
    """What it uses now: memory, processor time, processes, bytes of disks and network; null if unknown.

    Attributes:
        figures: answer also `figures`: all that its cgroup tells, in the words and shape of containerd's
            `io.containerd.cgroups.v1.Metrics` or `v2.Metrics`, whichever the host has.
    """

    figures: bool = False


@operation("tasks.checkpoint", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksCheckpoint:
    """Write the state of its processes to the directory `path`, with CRIU. Refused where it cannot."""

    path: str
    leave_running: bool = False


@operation("tasks.restore", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksRestore:
    """Start it from a checkpoint. Answered as `tasks.start`."""

    path: str


@operation("containers.rename", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContainersRename:
    """Give it another name. Answer: `name`."""

    name: str


@operation("tasks.wait", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksWait:
    """Answered when it has exited: exit_code (null for unknown), exited_at, error."""


@operation("tasks.exec_wait", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksExecWait:
    """Answered when this exec has exited, started by then or not: as `tasks.wait` is."""

    exec_id: str


@operation("tasks.output", "container", repeatable=True, streams=True)
@dataclass(frozen=True, slots=True)
class TasksOutput:
    """Its output from the given offsets on, as PART {stream, offset, at} with the bytes beside it.

    A part with `cut` has no bytes: so many before `offset` that were wanted are no longer in the log.

    Attributes:
        recent: not from the given offsets on, but what comes from now on, with at most so many of the last
            bytes of each stream before it. The first parts, without bytes, say where that begins.
        follow: go on until it has exited; the final answer is then that of `tasks.wait` (and comes after
            the removal of a container that removes itself).
        exec_id: of this exec instead of the first process.
    """

    stdout: Number = 0
    stderr: Number = 0
    follow: bool = False
    exec_id: str = ""
    recent: Number | None = None


@operation("tasks.exec", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksExec:
    """Run a further process; an id that is known already is not run again. Answered when it has started.

    Its output and exit are asked for with `tasks.output`; `tasks.exec_delete` lets go of them.

    Attributes:
        terminal: give it one, of so many `rows` and `columns`; all of its output is then standard output.
        stdin: it takes input (`tasks.input`); otherwise it finds the end there.
    """

    exec_id: str
    args: list[str]
    env: list[str] = field(default_factory=list)
    cwd: str = ""
    user: str = ""
    terminal: bool = False
    stdin: bool = False
    rows: Number = 0
    columns: Number = 0


@operation("tasks.input", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksInput:
    """A piece of standard input: at most 65,536 bytes, in raw buffers beside the body.

    Answered with `taken`, how many bytes of this writer have been taken, once there was room for it: send
    the next piece then. Bytes that were taken before, by their offset, are not taken twice.

    Attributes:
        writer: a name that the writer chose for itself, and nobody else has.
        offset: where in all that this writer sends the piece begins.
    """

    writer: str
    offset: Number = 0
    exec_id: str = ""


@operation("tasks.close_io", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksCloseIo:
    """The end of standard input, for whoever wrote to it; answered when all before it has been read.

    A terminal has no end: this changes nothing there.
    """

    exec_id: str = ""


@operation("tasks.resize", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksResize:
    """Give a terminal another size."""

    rows: Number
    columns: Number
    exec_id: str = ""


@operation("tasks.exec_delete", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksExecDelete:
    """Forget an exec that has exited; one that is unknown is no error.

    Attributes:
        strict: it is one; not repeatable.
    """

    exec_id: str
    strict: bool = False


@operation("tasks.freeze", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksFreeze:
    """Stop its processes where they are, for at most `seconds` (300): said again, for as long from then on.

    Answered when they stand still. They go on when the last `holder` has let go, or not renewed it in time.
    With `again`, it is refused if they have gone on since this holder asked for the first time.
    """

    seconds: float = 30.0
    holder: str = ""
    again: bool = False


@operation("tasks.thaw", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksThaw:
    """Let them go on, as far as this holder is concerned."""

    holder: str = ""


@operation("containers.remove", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContainersRemove:
    """Remove it and all that belongs to it. Refused while it runs, unless forced.

    The answer's `left` says what plugins of networks have not taken back yet, if there is any such thing.

    Attributes:
        strict: one that somebody else is removing already is an error; not repeatable.
    """

    force: bool = False
    strict: bool = False
