"""bin/fuzz: fuzz each target for a while, print executions and findings; ends with 1 if there are any."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from fuzz.targets import TARGETS

ROOT: Final = Path(__file__).resolve().parents[1]
GRACE: Final = 120  # seconds that a target may take to begin and end
EXECUTED: Final = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)


def main() -> int:
    """Fuzz what was named, or everything."""
    parser = argparse.ArgumentParser(
        prog="bin/fuzz",
        description="Fuzz the parsers of what strangers send, guided by coverage (fuzz/targets.py).",
        epilog="In brackets: the default. Exit code: 1 if there are findings, else 0.\n\n"
        "Example:\n  bin/fuzz --seconds 60 --keep /tmp/corpus manifest tar",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (all)")
    parser.add_argument("--seconds", type=int, default=30, metavar="S", help="seconds for each target (30)")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="where corpus and findings are kept (nowhere)"
    )
    given = parser.parse_args()
    unknown = set(given.targets) - TARGETS.keys()
    if unknown:
        parser.error(f"no target is named {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="actord-fuzz-") as temporary:
        directory = (given.keep or Path(temporary)).resolve()
        print(f"{'TARGET':<18}{'EXECUTIONS':>12}  FINDINGS")
        found = sum(_fuzz(name, given.seconds, directory) for name in given.targets or TARGETS)
    return 1 if found else 0


def _fuzz(name: str, seconds: int, directory: Path) -> int:
    """Fuzz one target; how many findings there are."""
    words = [sys.executable, "-P", "-m", "fuzz.one", name, str(seconds), str(directory)]
    done = subprocess.run(
        words, capture_output=True, text=True, errors="replace", timeout=seconds + GRACE, check=False,
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    executed = EXECUTED.search(done.stderr)
    findings = sorted(directory.glob(f"{name}.finding-*"))
    bad = max(len(findings), int(done.returncode != 0))
    print(f"{name:<18}{executed[1] if executed else '?':>12}  {bad}", flush=True)
    if bad:
        print(done.stdout[-3000:], done.stderr[-3000:], *map(str, findings), sep="\n")
    return bad


if __name__ == "__main__":
    sys.exit(main())
