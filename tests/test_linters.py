"""Formatting, lint, types and import contracts, each as a test: one command, one result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHECKS = {
    "ruff format": ["ruff", "format", "--check", "."],
    "ruff check": ["ruff", "check", "--output-format", "concise", "."],
    "mypy": ["mypy", "--strict"],
    "mypy bench": ["mypy", "--strict", "-p", "bench"],
    "mypy chaos": ["mypy", "--strict", "-p", "chaos"],
    "import contracts": ["lint-imports", "--no-logo"],
    "shell syntax": [
        "sh",
        "-c",
        'for file in $(grep -lE "^#!.*sh$" bin/* .ci/run); do bash -n "$file" || exit 1; done',
    ],
}


@pytest.mark.parametrize("command", CHECKS.values(), ids=CHECKS.keys())
def test_sources_pass(command: list[str]) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}", pytrace=False)
