"""`actord`: read the settings, take the directories, load everything once, become the zygote."""

import argparse
import contextlib
import gc
import importlib
import logging
import os
import resource
import socket
import sys
import uuid
from pathlib import Path
from typing import NoReturn

from actors import __version__, failpoints, log_records
from actors.linux import migration
from actors.linux.libc import one_malloc_arena
from actors.linux.memory import offer_for_merging
from actors.settings import LOG_FORMATS, LOG_LEVELS, Settings, SettingsError, load
from actors.zygote import place
from actors.zygote.children import TakeoverError
from actors.zygote.loop import Zygote

log = logging.getLogger("zygote")
ALIVE = "WATCHDOG=1"
TOO_NEW = 3  # exit code; etc/actord.service has it
DESCRIPTION = """\
The daemon: containers as a tree of supervised actors. It stays in the
foreground and logs to standard error. SIGTERM, SIGINT and SIGHUP stop it;
containers that run go on, and the next start takes them over. Settings are read
when it starts: to have them read anew, start it again.
"""
EPILOG = """\
In brackets: the default. What is given here wins over the file of settings;
etc/actord.toml (in a package /etc/actord/actord.toml) has every setting.

Exit codes: 0 stopped in order, 1 cannot start, 2 wrong usage, 3 a newer actord
has written what is in --root.

Examples:
  actord
  actord --root /srv/actord --state /run/try --grpc ''
  actord --node h1 --listen tcp://192.0.2.7:7400

Is it up: actr version. What keeps it from working: actr doctor.
"""


def main() -> None:
    """Entry point. Exit codes: 0 stopped in order, 1 cannot start, 2 wrong usage, 3 data of a newer one."""
    _open_closed()
    try:
        settings = _settings()
        locks = place.take(settings)
        if settings.failpoints:
            failpoints.enable_from_environment(settings.state / "failpoints")
    except (SettingsError, place.PlaceError, failpoints.FailpointError) as error:
        sys.exit(f"actord: {error}")
    _refuse_newer(settings.root)
    log_records.install(settings.log_level, settings.log_format, settings.logging_journal, os.environ)
    os.umask(0o022)  # whatever the caller's: modes are chosen where files are made
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (most, most)
    )  # at the limit ZeroMQ spins; runtimes set their own
    try:
        _run(settings)
    except TakeoverError as error:
        sys.exit(
            f"actord: {error}; raise the limit of open files (LimitNOFILE, ulimit -n), what runs goes on"
        )
    for lock in locks:
        os.close(lock)


def _refuse_newer(root: Path) -> None:
    """Before anything is opened: no restart mends that. Containers run on until the newer one is back."""
    databases = importlib.import_module("storage.databases")  # late, as all that children need
    errors = importlib.import_module("storage.errors")
    try:
        databases.refuse_newer_root(root)
    except errors.FailedPreconditionError as error:
        sys.stderr.write(f"actord: {error}\n")
        sys.exit(TOO_NEW)


def _open_closed() -> None:
    """Standard streams that the caller has closed: a lock or a socket of ours must not get their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115  # to the end


def _settings() -> Settings:
    given = vars(parser().parse_args())
    return load(given.pop("config"), **given)


def parser() -> argparse.ArgumentParser:
    """What the daemon's command line takes; the manual page is made from it."""
    found = _Parser(
        prog="actord",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("--root", type=Path, metavar="DIR", help="what is durable (/var/lib/actord)")
    add("--state", type=Path, metavar="DIR", help="sockets, mounts, locks: what a reboot takes (/run/actord)")
    add(
        "--config",
        type=Path,
        metavar="FILE",
        help="settings, in TOML (/etc/actord/actord.toml, if there is one)",
    )
    add("--node", metavar="NAME", help="name of this node among others (the host's name)")
    add(
        "--listen",
        metavar="tcp://ADDRESS:PORT",
        help="let in clients of other hosts: actr keys new (nowhere)",
    )
    add("--grpc", dest="grpc_listen", metavar="SOCKET", help="containerd's API (containerd.sock in --state)")
    add("--log-level", choices=LOG_LEVELS, help="least level that is logged (info)")
    add("--log-format", choices=LOG_FORMATS, help="text, or an object of JSON in each line (text)")
    add(
        "--failpoints",
        action="store_true",
        default=None,
        help="let actr chaos make things go wrong: for tests",
    )
    add("--version", action="version", version=f"actord {__version__}", help="print the version")
    return found


class _Parser(argparse.ArgumentParser):
    """Says of a mistake what would have been right."""

    def error(self, message: str) -> NoReturn:
        """One line on standard error, then exit code 2."""
        from difflib import get_close_matches  # noqa: PLC0415  # only a mistake pays for it

        wrong = message.removeprefix("unrecognized arguments: ").split(" ", maxsplit=1)[0]
        near = get_close_matches(wrong.partition("=")[0], self._option_string_actions, n=1)
        meant = f"; did you mean {near[0]}?" if near and wrong.startswith("-") else ""
        self.exit(2, f"actord: {message}{meant}; see: actord --help\n")


def _run(settings: Settings) -> None:
    instance = str(uuid.uuid4())
    # Imported late, so that wrong usage is answered at once, and by name: the zygote itself stays on the
    # standard library, this loads what its children will need.
    programs = importlib.import_module("actors.tree").PROGRAMS
    importlib.import_module("actors.messages").prepare("container")
    importlib.import_module("actors.runtime.wishes").wishes({})
    with contextlib.suppress(OSError):
        migration.own_group()  # each container's actor wants to know: looked at once, for all that are forked
    one_malloc_arena()
    gc.collect()
    gc.freeze()  # what is loaded by now is shared by every child; the collector must not touch it
    gc.disable()
    if settings.memory_merge:
        offer_for_merging()  # what is offered here, every fork has offered

    def on_up() -> None:
        try:
            place.write_connection_file(settings, instance)
        finally:  # without room for the file it is up all the same
            log.info("actord %s is up: %s", __version__, settings.router_socket)
            _notify("READY=1")

    on_round = (lambda: _notify(ALIVE)) if os.environ.get("WATCHDOG_USEC") else lambda: None
    Zygote(settings, programs, instance, on_up, on_round).run()
    _notify("STOPPING=1")


def _notify(text: str) -> None:
    """Tell systemd, if it started us (sd_notify(3)).

    What is said every few seconds waits for nobody: when systemd does not read, we have others to look after.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    path = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, contextlib.suppress(OSError):
        notify.sendto(text.encode(), socket.MSG_DONTWAIT if text == ALIVE else 0, path)


if __name__ == "__main__":
    main()
