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

from actors import __version__, failpoints, log_records
from actors.linux import migration
from actors.linux.libc import one_malloc_arena
from actors.linux.memory import offer_for_merging
from actors.settings import LOG_FORMATS, LOG_LEVELS, Settings, SettingsError, load
from actors.zygote import place
from actors.zygote.loop import Zygote

log = logging.getLogger("zygote")


def main() -> None:
    """Entry point. Exit codes: 0 stopped in order, 1 cannot start, 2 wrong usage."""
    try:
        settings = _settings()
        locks = place.take(settings)
        if settings.failpoints:
            failpoints.enable_from_environment(settings.state / "failpoints")
    except (SettingsError, place.PlaceError, failpoints.FailpointError) as error:
        sys.exit(f"actord: {error}")
    log_records.install(settings.log_level, settings.log_format, settings.logging_journal, os.environ)
    os.umask(0o022)  # whatever the caller's: modes are chosen where files are made
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (most, most)
    )  # at the limit ZeroMQ spins; runtimes set their own
    _run(settings)
    for lock in locks:
        os.close(lock)


def _settings() -> Settings:
    given = vars(parser().parse_args())
    return load(given.pop("config"), **given)


def parser() -> argparse.ArgumentParser:
    """What the daemon's command line takes; the manual page is made from it."""
    found = argparse.ArgumentParser(prog="actord", description="containers as supervised actors: the daemon")
    found.add_argument("--root", type=Path, help="durable state (default: /var/lib/actord)")
    found.add_argument("--state", type=Path, help="sockets, mounts, locks (default: /run/actord)")
    found.add_argument("--config", type=Path, metavar="FILE.toml", help="see etc/actord.toml for the keys")
    found.add_argument("--node", help="name of this host (default: its host name)")
    found.add_argument(
        "--listen", metavar="tcp://ADDR:PORT", help="for clients on other hosts; see actr keys"
    )
    found.add_argument("--grpc", dest="grpc_listen", metavar="SOCKET", help="socket of containerd's API")
    found.add_argument("--log-level", choices=LOG_LEVELS, help="what is written to the log (default: info)")
    found.add_argument("--log-format", choices=LOG_FORMATS, help="of the log (default: text)")
    found.add_argument(
        "--failpoints", action="store_true", default=None, help="let faults be injected: for tests"
    )
    found.add_argument("--version", action="version", version=f"actord {__version__}")
    return found


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
        place.write_connection_file(settings, instance)
        log.info("actord %s is up: %s", __version__, settings.router_socket)
        _notify("READY=1")

    on_round = (lambda: _notify("WATCHDOG=1")) if os.environ.get("WATCHDOG_USEC") else lambda: None
    Zygote(settings, programs, instance, on_up, on_round).run()
    _notify("STOPPING=1")


def _notify(text: str) -> None:
    """Tell systemd, if it started us (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    path = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, contextlib.suppress(OSError):
        notify.sendto(text.encode(), path)


if __name__ == "__main__":
    main()
