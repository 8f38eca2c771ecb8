"""bin/hosts: hosts for a shell or a command."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from chaos.hosts import CHECKOUT, Hosts

MOST = 50


def main() -> int:
    """Give the command's exit code."""
    parser = argparse.ArgumentParser(prog="hosts", description="several hosts on this machine")
    parser.add_argument("count", type=int, help=f"how many, 1 to {MOST}")
    parser.add_argument("command", nargs="*", help="what to run instead of a shell")
    given = parser.parse_args()
    if not 1 <= given.count <= MOST:
        parser.error(f"count is 1 to {MOST}")
    if os.geteuid() != 0:
        sys.exit("hosts: it makes network namespaces, and so must run as root; try sudo")
    with (
        tempfile.TemporaryDirectory(prefix="ah-") as directory,
        Hosts(given.count, Path(directory)) as hosts,
    ):
        first = hosts.hosts[0]
        print(f"{given.count} hosts: {', '.join(host.name for host in hosts.hosts)}; you are at {first.name}")
        print("look with: actr node ls; work elsewhere with: actr --node h2 ...")
        path = f"{CHECKOUT / 'bin'}:{os.environ.get('PATH', '')}"
        environment = {**os.environ, "ACTORD_ADDRESS": str(first.socket), "PATH": path}
        shell = [os.environ.get("SHELL", "/bin/sh")]
        return subprocess.run(
            [*first.inside(), *(given.command or shell)], env=environment, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
