"""Whatever prints a thing or a list of things prints it as JSON, by a template, and without colours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]
PRINTING = """
ps -a|actors|info|version|images|volume ls|volume inspect data|network ls|network inspect default
leases ls|content ls|content ingests|keys ls|node ls|system df|history IMAGE|inspect web|inspect IMAGE
images check|images usage IMAGE|images inspect IMAGE|diff web|port web|events --no-follow|stats --no-stream
top web|tree|tree -p|network check|leases resources held|content info DIGEST|logs web|doctor|spec web
system gc
"""
QUIET = ("ps -a", "images", "volume ls", "network ls", "leases ls", "content ls", "node ls", "keys ls")


def test_json_templates_and_quiet(daemon: Daemon, busybox: str):
    daemon.actr("pull", busybox)
    daemon.actr(
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "18080:80",
        "--net",
        "bridge",
        busybox,
        "sh",
        "-c",
        "echo hi; sleep 999",
    )
    daemon.actr("volume", "create", "data")
    daemon.actr("leases", "create", "held")
    digest = daemon.actr("content", "ls", "-q").stdout.split()[0]
    try:
        wrong = []
        for line in PRINTING.replace("\n", "|").split("|"):
            words = line.replace("IMAGE", busybox).replace("DIGEST", digest).split()
            if words:
                wrong += _wrong(daemon, words)
        assert not wrong, "\n".join(wrong)
        for line in QUIET:
            assert all(
                len(one.split()) == 1 for one in daemon.actr(*line.split(), "-q").stdout.splitlines()
            ), line
    finally:
        daemon.actr("rm", "-f", "web")


def _wrong(daemon: Daemon, words: list[str]) -> list[str]:
    """What is wrong with how one command prints."""
    found = []
    plain = daemon.actr(*words, "--format", "json", check=None)
    by_template = daemon.actr(*words, "--format", "one {{json .}}", check=None)
    if any("\x1b" in one.stdout + one.stderr for one in (plain, by_template)):
        found.append(f"{words}: colours into a pipe")
    try:
        decoded = json.loads(plain.stdout)
        things = decoded if isinstance(decoded, list) else [decoded]
    except ValueError:
        try:
            things = [json.loads(one) for one in plain.stdout.splitlines()]
        except ValueError:
            return [*found, f"{words}: no JSON: {plain.stdout[:200]!r} {plain.stderr!r}"]
    lines = by_template.stdout.splitlines()
    if len(lines) != len(things) or not all(one.startswith("one ") for one in lines):
        found.append(f"{words}: template: {by_template.stdout[:200]!r} {by_template.stderr!r}")
    return found
