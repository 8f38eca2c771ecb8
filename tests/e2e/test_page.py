"""The page: what it sends, what it refuses, and what a real browser makes of it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daemon import Daemon, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root
BROWSERS = ("chromium-headless-shell", "chromium")


@pytest.fixture(scope="module")
def paged(short_root: Path, busybox: str) -> Iterator[Daemon]:
    """A daemon with the page, one container that runs and one that has failed."""
    directory = short_root / "paged"
    directory.mkdir()
    with running(directory, settings="page = true\n") as started:
        started.actr("run", "-d", "--name", "web", busybox, "sleep", "900")
        started.actr("run", "--name", "broken", busybox, "sh", "-c", "exit 3", check=3)
        started.actr("tag", busybox, "evil.example/app:v1")
        yield started


def host(daemon: Daemon) -> str:
    return f"127.0.0.1:{(daemon.state / 'metrics.port').read_text()}"


def get(daemon: Daemon, path: str, name: str = "", method: str = "GET") -> tuple[int, Any, str]:
    """Status, headers and text."""
    request = urllib.request.Request(f"http://{host(daemon)}{path}", method=method)
    if name:
        request.add_header("Host", name)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # http, as above
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/figures.json", "/nothing"])
def test_whatever_is_sent_a_browser_must_do_no_more_with_it(paged: Daemon, path: str):
    status, headers, _ = get(paged, path)
    assert status == (404 if path == "/nothing" else 200)
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy.pop("default-src") == "'none'"
    assert set(policy.values()) == {"'self'", "'none'"}
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers


def test_nothing_of_anybody_else_is_asked_for_and_nothing_stands_inline(paged: Daemon):
    page = get(paged, "/")[2]
    assert re.findall(r'(?:src|href)="([^"#]+)"', page) == ["page.css", "page.js", "/metrics", "/metrics"]
    assert not re.search(r"<script>|<style| on\w+=| style=", page)
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(", get(paged, "/page.js")[2])


@pytest.mark.parametrize("name", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_name_that_was_made_to_lead_here_is_refused(paged: Daemon, name: str):
    if name:
        status, _, text = get(paged, "/figures.json", name)
        assert (status, "web" in text) == (403, False)
        return
    with socket.create_connection((host(paged).partition(":")[0], int(host(paged).partition(":")[2]))) as raw:
        raw.sendall(b"GET /figures.json HTTP/1.0\r\n\r\n")
        assert b" 403 " in raw.makefile("rb").readline()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_takes_nothing(paged: Daemon, method: str):
    assert get(paged, "/figures.json", method=method)[0] == 405


def test_it_is_off_unless_it_was_asked_for(daemon: Daemon):
    assert get(daemon, "/")[0] == get(daemon, "/figures.json")[0] == 404
    assert get(daemon, "/metrics")[0] == 200


def test_figures_are_those_of_the_daemon(paged: Daemon):
    told = json.loads(get(paged, "/figures.json")[2])
    assert {one["name"]: one["task"]["status"] for one in told["containers"]} == {
        "web": "running", "broken": "stopped"
    }  # fmt: skip
    assert set(paged.actors()) <= {one["name"] for one in told["actors"]}
    assert "evil.example/app:v1" in {one["name"] for one in told["images"]}
    assert "/tasks/exit" in {one["topic"] for one in told["events"]}


def test_silent_connections_keep_nobody_waiting(paged: Daemon):
    name, _, port = host(paged).partition(":")
    silent = [socket.create_connection((name, int(port))) for _ in range(8)]
    try:
        assert get(paged, "/")[0] == 200
    finally:
        for one in silent:
            one.close()


def browser() -> str:
    found = next((name for name in BROWSERS if shutil.which(name)), "")
    if not found:
        pytest.skip("no chromium here: bin/setup --browser installs one (300 MB)")
    return found


def rendered(daemon: Daemon, tmp: Path) -> str:
    """The document, once its script has run for some seconds of the browser's own time."""
    how = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=6000", "--timeout=30000")
    words = [browser(), *how, f"--user-data-dir={tmp}/profile", "--dump-dom", f"http://{host(daemon)}/"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_browser_shows_it(paged: Daemon, tmp: Path):
    shown: list[str] = []

    def is_there() -> bool:
        shown[:] = [rendered(paged, tmp)]
        return "2 containers run" in shown[0]

    wait_until("it is read", is_there, 90)
    text = re.sub(r"<[^>]+>", " ", shown[0])
    for words in ("web", "running", "exited (3)", "supervisor", "evil.example/app:v1", "/tasks/exit"):
        assert words in text
    assert "not read" not in text
