"""bin/hosts: hosts for a shell or a command."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from chaos import left, partitions
from chaos.hosts import CHECKOUT, Hosts

if TYPE_CHECKING:
    from types import FrameType

MOST = 50
EPILOG = """\
At h1, actr works with h1's daemon, and with others by name: actr --node h2 ...
What partitions cost is measured by: sudo bin/hosts --matrix (--help has more).

Exit code: that of the shell or command.

Examples:
  sudo bin/hosts 3
  sudo bin/hosts 3 -- actr node ls
"""


def main() -> int:
    """Give the command's exit code."""
    if os.geteuid() != 0 and not {"-h", "--help"} & set(sys.argv[1:]):
        sys.exit("hosts: it makes network namespaces, and so must run as root; try sudo")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    if sys.argv[1:2] == ["--matrix"]:
        return partitions.main(sys.argv[2:])
    parser = argparse.ArgumentParser(
        prog="bin/hosts",
        description="Several hosts on this machine, each with its actord, while a command runs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "count", type=int, metavar="COUNT", help=f"how many, 1 to {MOST}; 0 clears what a killed run has left"
    )
    parser.add_argument(
        "command", nargs="*", metavar="COMMAND", help="what to run at h1, behind -- (a shell)"
    )
    given = parser.parse_args()
    if not 0 <= given.count <= MOST:
        parser.error(f"count is 0 to {MOST}")
    if not given.count:
        print("\n".join(left.clear()) or "nothing was left")
        return 0
    return _with_hosts(given.count, given.command)


def _end(number: int, _: FrameType | None) -> None:
    """Leave as at the end: what was made is taken away."""
    sys.exit(128 + number)


def _with_hosts(count: int, command: list[str]) -> int:
    directory = Path(tempfile.mkdtemp(prefix="ah-"))
    directory.chmod(0o711)
    try:
        with Hosts(count, directory, temporary=True) as hosts:
            first = hosts.hosts[0]
            print(f"{count} hosts: {', '.join(host.name for host in hosts.hosts)}; you are at {first.name}")
            print("look with: actr node ls; work elsewhere with: actr --node h2 ...", flush=True)
            path = f"{CHECKOUT / 'bin'}:{os.environ.get('PATH', '')}"
            environment = {**os.environ, "ACTORD_ADDRESS": str(first.socket), "PATH": path}
            words = command or [os.environ.get("SHELL", "/bin/sh")]
            return subprocess.run([*first.inside(), *words], env=environment, check=False).returncode
    finally:
        left.remove(directory)


if __name__ == "__main__":
    sys.exit(main())
