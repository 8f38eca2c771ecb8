"""What the help says of a command beside its options: exit codes, units, and what comes next.

Read only when somebody asks for help, like examples.py.
"""

from __future__ import annotations

_PROGRAM = (
    "Exit code: the program's own, 128 and its number if a signal ended it;",
    "125 actord could not run it, 126 it cannot be executed, 127 there is none.",
)
_CRIU = "It needs CRIU on the host; crun of Debian 12 cannot."
_WHEN = "A time is 2026-05-31T12:00 or, counted back from now, 90s, 10m, 2h or 1d."
_FILTER = "FILTER is FIELD, FIELD==VALUE, FIELD!=VALUE or FIELD~=REGEX; a comma means and."

NOTES: dict[str, tuple[str, ...]] = {
    "run": (
        "The image is pulled if it is not here. SIZE has a unit, as in 512k, 512m, 2g;",
        "without one, bytes. TIME is 30s, 2m or the like. Options come before IMAGE.",
        *_PROGRAM,
        "With --detach, then: actr logs NAME, actr exec NAME ..., actr rm -f NAME.",
    ),
    "create": ("Prints its id. It runs after: actr start NAME. Options are those of run.",),
    "spec": ("What run would hand to the runtime, as JSON. Nothing is made or changed.",),
    "start": ("With --attach:", *_PROGRAM, "Why one does not start: actr inspect NAME, actr logs NAME."),
    "stop": (
        "The signal is the container's stop signal, SIGTERM if it has none.",
        "It stays, with all that it has written: actr start NAME, or actr rm NAME.",
    ),
    "restart": ("As stop and start. For it to happen by itself: actr update --restart.",),
    "pause": ("They keep their memory and take no processor time. Next: actr unpause.",),
    "update": ("What is not given stays as it is. SIZE has a unit, as in 512m or 2g.",),
    "rename": ("Its id stays, and so does what has been written under it.",),
    "top": ("The live view has its keys in its last line; q ends it.",),
    "stats": ("Bytes in decimal units; processor time in percent of one processor.",),
    "cp": (
        "One of the two is NAME:PATH in a container, which need not run; - as the",
        "other is a tar on standard input or output.",
    ),
    "checkpoint": (_CRIU, "Next: actr restore CONTAINER DIRECTORY."),
    "restore": (_CRIU,),
    "kill": ("To have it end in order instead: actr stop.",),
    "rm": (
        "Its own volumes, log and what it has written go with it; named volumes stay.",
        "One that runs is refused without --force.",
    ),
    "attach": ("Exit code: the container's, or 0 after detaching.",),
    "exec": _PROGRAM,
    "wait": ("Prints the exit code of each, `unknown` where nobody can tell.",),
    "logs": (_WHEN, "--format json or a template: each line has the fields stream, at and text."),
    "ps": ("With --format a template: fields as in --format json, as {{.Name}}.",),
    "volume rm": ("One that a container mounts is refused: actr rm that first.",),
    "volume prune": ("What was in them is gone.",),
    "pull": (
        "A name without a registry is docker.io/library/NAME; without a tag, latest.",
        "Broken off, it goes on where it was when it is run again.",
        "If the registry wants a login: actr login HOST.",
    ),
    "push": ("TARGET is a name at another registry; without it, the image's own.",),
    "copy": ("Nothing stays on this host.",),
    "login": ("It is kept in ~/.docker/config.json, or by its credential helper.",),
    "images check": ("Exit code: 1 if one is not whole. Next: actr pull IMAGE.",),
    "images mount": ("Next: actr images umount DIRECTORY.",),
    "images convert": ("KIND is zstd, gzip or none. The new image has blobs and a digest of its own.",),
    "containerd import": (
        "containerd has to be stopped first, and is left as it is; content is copied.",
        "Its containers are not taken. Exit code: 1 if an image was left out.",
    ),
    "save": ("Next, elsewhere: actr load -i FILE.",),
    "rmi": ("Only the name goes; what nothing else needs is collected after it.",),
    "content ls": (_FILTER,),
    "content ingests": (_FILTER,),
    "leases ls": (_FILTER,),
    "content rm": ("For who mends stores by hand; images go with: actr rmi.",),
    "keys new": ("Then, on the other host: actr --address FILE.json ps.",),
    "keys revoke": ("It is heeded with the next message of a client that is in.",),
    "node join": ("FILE is made there by: actr keys new. Then: actr --node NAME ps.",),
    "doctor": ("Exit code: 1 if something keeps actord from working, else 0.",),
    "system df": ("To get space: actr system prune.",),
    "system prune": ("Without options only what nothing refers to; containers that run stay.",),
    "system check": ("Exit code: 1 if something is wrong. Next: actr system repair.",),
    "system repair": ("Nothing that a container has written is deleted. What it cannot mend, it says.",),
    "system backup": ("While the daemon runs. See docs/operations.md on what else to copy.",),
    "network create": ("Then: actr run --net NETWORK, or actr network connect NETWORK NAME.",),
    "network check": ("Exit code: 1 if they differ. Next: actr network check --mend.",),
    "events": (_WHEN, "Ctrl-C ends it. With --debug each line has the id of its trace."),
    "chaos": ("ACTION is error, kill, hang, delay(MS), drop-reply, double-reply, clock or off.",),
    "completion": ('SHELL is bash, zsh or fish: eval "$(actr completion bash)".',),
}


def notes_of(name: str) -> tuple[str, ...]:
    """Lines, for a command by its words."""
    return NOTES.get(name, ())
