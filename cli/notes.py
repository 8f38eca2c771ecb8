"""What the help says of a command beside its options: exit codes, units, and what comes next.

Read only when somebody asks for help, like examples.py.
"""

from __future__ import annotations

_PROGRAM = (
    "Exit code: the program's own, 128 and its number if a signal ended it, 255 if nobody knows it; 125 "
    "actord could not run it, 126 it cannot be executed, 127 there is none."
)
_LEAVING = (
    "Ctrl-C goes to the program. To leave it running: Ctrl-C three times (exit code 130), or with -it "
    "ctrl-p ctrl-q (exit code 0); attach comes back to it."
)
_CRIU = "It needs CRIU on the host; crun of Debian 12 cannot."
_WHEN = "WHEN is 2026-05-31T12:00 or, counted back from now, 90s, 10m, 2h or 1d."
_FILTER = (
    "FILTER is FIELD, FIELD==VALUE, FIELD!=VALUE or FIELD~=REGEX; a comma means and, of several one is "
    "enough. FIELD is one of those of --format json."
)
_LOGIN = "If the registry wants a login: actr login HOST."
_SIZE = "SIZE has a unit, as in 512k, 512m, 2g; without one, bytes."

NOTES: dict[str, tuple[str, ...]] = {
    "run": (
        (
            "The image is pulled if it is not here. Options come before IMAGE, which is left out with "
            "--bundle. It is on no network unless --net or -p says so."
        ),
        f"{_SIZE} TIME is 30s, 2m or so.",
        _PROGRAM,
        _LEAVING,
        "With --detach, then: actr logs NAME, actr exec NAME ..., actr rm -f NAME.",
    ),
    "create": (
        (
            "Prints its id. It runs after: actr start NAME. Options come before IMAGE; they are those of "
            "run, where units are explained."
        ),
    ),
    "spec": (
        (
            "Of a container, what the runtime is given; of an image, what it would be given by run with "
            "these options. As JSON. No container is made or changed, but the image is pulled if it is "
            "not here."
        ),
    ),
    "start": (
        (
            "With --attach, exit code: the program's own, 128 and its number if a signal ended it; 126 it "
            "cannot be executed, 127 there is none, 1 actord could not start it. Why one does not start: "
            "actr inspect NAME, actr logs NAME."
        ),
    ),
    "stop": (
        "The signal is the container's stop signal, SIGTERM if it has none.",
        "It stays, with all that it has written: actr start NAME, or actr rm NAME.",
    ),
    "restart": ("As stop and start. For it to happen by itself: actr update --restart always NAME.",),
    "kill": (
        (
            "To have it end in order instead: actr stop. To send one to another process: actr exec NAME "
            "kill -HUP PID."
        ),
    ),
    "rm": (
        "Its own volumes, log and what it has written go with it; named volumes stay.",
        "One that runs is refused without --force.",
    ),
    "ps": (
        (
            "Those that run, the youngest first; --format json has more than the table, and names the "
            "fields of a template. Exit code: 1 if a node did not answer."
        ),
    ),
    "logs": (
        _WHEN,
        "With --format json or a template, each line has the fields stream, at and text.",
    ),
    "exec": (
        (
            "Options come before CONTAINER; all that follows it is the command. To leave it running: "
            "Ctrl-C three times (exit code 130), or with -it ctrl-p ctrl-q (0)."
        ),
        _PROGRAM,
    ),
    "attach": (
        (
            "Ctrl-C goes to the program. To leave it running: Ctrl-C three times, or ctrl-p ctrl-q if it "
            "has a terminal and reads from it."
        ),
        "Exit code: the container's; 130 after Ctrl-C three times, 0 after the keys.",
    ),
    "wait": (
        "Prints a line for each: its exit code, or `unknown` where nobody can tell.",
        "The exit code of wait itself is 0 if all could be waited for.",
    ),
    "inspect": ("The names in a template are those in the JSON, as {{.Task.ExitCode}}.",),
    "stats": (
        "A reading a second of those named, or of all that run; Ctrl-C ends it.",
        "Bytes in decimal units; processor time in percent of one processor.",
    ),
    "port": ("They are published by: actr run -p. Printed as CONTAINER PORT -> HOST PORT.",),
    "cp": (
        (
            "One of the two is NAME:PATH in a container, which need not run; - as the other is a tar on "
            "standard input or output. Images are copied by: actr copy."
        ),
    ),
    "diff": ("Before each: A added, C changed, D deleted. To make an image of them: actr commit.",),
    "export": ("What is mounted in it, such as volumes, is left out. To make an image of it: actr import.",),
    "pause": ("They keep their memory and take no processor time. Next: actr unpause NAME.",),
    "update": (f"What is not given stays as it is. {_SIZE}",),
    "rename": ("Its id stays, and so does what has been written under it.",),
    "checkpoint": (
        _CRIU,
        "Next: actr restore CONTAINER DIRECTORY.",
    ),
    "restore": (
        _CRIU,
        "The container is that of the checkpoint, and does not run.",
    ),
    "images check": (
        "MISSING counts blobs of other platforms, too. Exit code: 1 if one is not whole.",
        "Next: actr pull IMAGE.",
    ),
    "images usage": ("UNIQUE is what no other image has. To get space: actr rmi IMAGE.",),
    "images convert": ("The new image has blobs and a digest of its own; the old one stays.",),
    "images mount": ("Next: actr images umount DIRECTORY.",),
    "pull": (
        "A name without a registry is docker.io/library/NAME; without a tag, latest.",
        "Broken off, it goes on where it was when it is run again.",
        _LOGIN,
    ),
    "push": (
        (
            "TARGET is a name at another registry; without it, the image's own. If only one platform of "
            "several is here, that is sent."
        ),
        _LOGIN,
    ),
    "copy": (
        f"Nothing stays on this host. {_LOGIN}",
        "Files are copied by: actr cp.",
    ),
    "tag": ("NEW is taken away from an image that has it already.",),
    "rmi": ("Only the name goes; what nothing else needs is collected after it.",),
    "commit": ("NEW is the image's name. Volumes and other mounts are left out. Then: actr run NEW.",),
    "import": ("FILE may be compressed; - is standard input. NEW is the image's name.",),
    "save": ("Several images go into one archive. Next, elsewhere: actr load -i FILE.",),
    "load": ("It may be compressed. Prints the names of the images that came.",),
    "containerd import": (
        "containerd has to be stopped first, and is left as it is; content is copied.",
        "Its containers are not taken. Exit code: 1 if an image was left out.",
    ),
    "login": (
        (
            "HOST is that of the registry, docker.io without it. The login is tried first, then kept in "
            "~/.docker/config.json, or by its credential helper."
        ),
        "In scripts: actr login -u NAME --password-stdin HOST < FILE.",
    ),
    "logout": ("HOST is that of the registry, docker.io without it. No daemon is asked.",),
    "search": (
        (
            "Those with TERM in their names, each as actr pull takes it; exit code 1 if there is none. "
            "Many registries, docker.io among them, have no catalogue."
        ),
    ),
    "tags": ("Next: actr pull REPOSITORY:TAG.",),
    "network create": (
        (
            "It is there for all namespaces. Then: actr run --net NAME IMAGE, or for those that run: actr "
            "network connect NAME CONTAINER."
        ),
    ),
    "network rm": ("Who is on it: actr network inspect NETWORK.",),
    "network connect": (
        "K is ip, mac, alias or rate (bytes a second, as 10m). Prints its addresses.",
        "It is remembered for the container's next start.",
    ),
    "network disconnect": ("It is remembered for the container's next start.",),
    "network check": (
        "Exit code: 1 if they differ and that was not mended.",
        "Next: actr network check --mend.",
    ),
    "volume create": (
        "Prints its name, a made up one if none is given; one that exists is no error.",
        "Then: actr run -v NAME:/PATH IMAGE.",
    ),
    "volume ls": ("USED BY names containers that mount it, whether they run or not.",),
    "volume rm": ("What was in them is gone. One that a container mounts is refused: actr rm that first.",),
    "volume prune": ("What was in them is gone. Prints their names.",),
    "doctor": (
        "Needs no daemon. ok is well, -- is a note, !! a warning, XX an error.",
        "Exit code: 1 if something is an error, else 0.",
    ),
    "top": (
        (
            "The whole: its tree, containers, transfers and crashes; the last line has the keys, q ends "
            "it. A container: PID is the host's number, INSIDE its own."
        ),
    ),
    "tree": ("Printed once; live: actr top. Only the daemon's own processes: actr actors.",),
    "actors": (
        "INC counts how often each was started, RESTARTS how often after a crash.",
        "One that is not running or asleep: actr doctor.",
    ),
    "events": (
        _WHEN,
        "Ctrl-C ends it. With --debug each line has the id of its trace.",
    ),
    "version": ("Exit code: 1 if no daemon answers. Then: actr doctor.",),
    "system df": (
        (
            "Of all namespaces. USED is how many of COUNT are in use, RECLAIMABLE what goes by itself or "
            "by actr system gc. For more space: actr system prune -a."
        ),
    ),
    "system gc": ("It happens by itself, too, soon after something was removed.",),
    "system prune": ("Without options only what nothing refers to; containers that run stay.",),
    "system check": ("Exit code: 1 if something is wrong. Next: actr system repair.",),
    "system repair": (
        "Nothing that a container has written is deleted. What it cannot mend, it says.",
        "Exit code: 1 if something is still wrong.",
    ),
    "system backup": ("While the daemon runs. See docs/operations.md on what else to copy.",),
    "content ls": (_FILTER,),
    "content label": ("KEY= takes a label away. Prints the labels that it has then, as JSON.",),
    "content rm": ("For those who mend stores by hand; images go with: actr rmi.",),
    "content ingests": (_FILTER,),
    "content abort": ("What they have got is lost. REF is one of: actr content ingests -q.",),
    "leases ls": (_FILTER,),
    "leases create": ("Then: actr leases add NAME images IMAGE.",),
    "leases rm": ("What nothing else holds is collected then.",),
    "leases add": (
        "TYPE is content, ingests, images or snapshots/overlayfs; ID is the digest, ref, name or key.",
    ),
    "node join": ("FILE is made there by: actr keys new NAME. Then: actr --node NODE ps.",),
    "node leave": ("Nothing changes at them. That they let us in no more: actr keys revoke KEY, there.",),
    "node ls": (
        "PHI is the suspicion that it is down, TRIP how long an answer takes.",
        "Work at one: actr --node NODE ps.",
    ),
    "keys new": (
        "NAME is the key's. The daemon has to listen: actord --listen tcp://ADDRESS:PORT.",
        "The file has the secret key. Then, on the other host: actr --address FILE ps.",
    ),
    "keys allow": ("PUBLIC is the public key, 40 characters (Z85); who made it keeps the secret one.",),
    "keys revoke": ("It is heeded with the next message of a client that is in.",),
    "completion": (
        (
            'SHELL is bash: eval "$(actr completion bash)"; zsh: source <(actr completion zsh); or fish: '
            "actr completion fish | source. With WORD, prints what the last one may be: this is how the "
            "scripts ask."
        ),
    ),
    "chaos": (
        "list: places in the code that were passed; set NAME ACTION: what happens at one.",
        "ACTION is error, kill, hang, delay(MS), drop-reply, double-reply, clock(SECONDS) or off.",
        "For tests: the daemon must run with --failpoints.",
    ),
}


def notes_of(name: str) -> tuple[str, ...]:
    """Paragraphs, for a command by its words."""
    return NOTES.get(name, ())
