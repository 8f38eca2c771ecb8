"""What `actr top` makes of readings, and of keys: no terminal, no daemon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from cli.colour import GREEN, RED
from cli.live.reading import Readings
from cli.live.screen import Screen
from cli.live.view import View, screen, summary, tree
from cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[3]
SECOND = 1_000_000_000


class Session:
    """Answers with the overviews and events that a test has made, one after the other."""

    namespace = "default"

    def __init__(self, *overviews: dict[str, Any], events: list[dict[str, Any]] | None = None) -> None:
        self._overviews = list(overviews)
        self._events = events or []

    def ask(self, to: str, op: str, body: dict[str, Any]) -> dict[str, Any]:
        assert (to, op, body) == ("metrics", "metrics.overview", {})
        return self._overviews.pop(0)

    def stream(self, _to: str, op: str, wish: dict[str, Any], **_how: Any) -> Any:
        assert op == "events.subscribe"
        for event in self._events:
            if event["seq"] > wish.get("after", 0):
                yield type("Message", (), {"kind": "event", "seq": event["seq"], "body": event})


def actor(name: str, **fields: Any) -> dict[str, Any]:
    usage = {"processor": 1.0, "memory": 9_000_000}
    known = {"name": name, "kind": name.partition("/")[0], "state": "running", "pid": 7, "incarnation": 1}
    return {**known, "restarts": 0, "started_at": SECOND, **usage, **fields}


def container(name: str, status: str, **fields: Any) -> dict[str, Any]:
    task = {"status": status, "started_at": SECOND, "exited_at": SECOND, "exit_code": 3}
    known = {"namespace": "default", "id": f"{name}1", "name": name, "image": "docker.io/library/busybox:1"}
    return {**known, "wanted": "running", "created_at": SECOND, "task": task, **fields}


def overview(at: int, containers: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    actors = [actor("zygote"), actor("supervisor"), actor("router"), actor("volumes")]
    actors += [actor(f"container/default/{one['id']}") for one in containers]
    known = {"at": at * SECOND, "node": "h1", "actors": actors, "exits": [], "containers": containers}
    return {**known, "ingests": [], "requests": 100, "waiting": 1, "transferred": {}, **fields}


def readings(*overviews: dict[str, Any], events: list[dict[str, Any]] | None = None) -> Readings:
    found = Readings(Session(*overviews, events=events))  # type: ignore[arg-type]  # what it needs of one
    for _ in overviews:
        found.take()
    return found


def texts(lines: list[tuple[str, str]]) -> list[str]:
    return [text for text, _ in lines]


BUSY = container("busy", "running", cpu_nanoseconds=SECOND, memory_bytes=5_000_000, pids=3)


def test_rates_come_from_two_readings():
    later = {**BUSY, "cpu_nanoseconds": 2 * SECOND}
    found = readings(
        overview(10, [BUSY]), overview(12, [later], requests=150, transferred={"pull": 6_000_000})
    )
    assert "requests 25/s, 1 under way; registries 3.0 MB/s" in summary(found)[1][0]
    assert found.processor(later) == 50.0
    [row] = [text for text in texts(tree(found, View(), 200)) if " busy " in text]
    assert row.split()[2:4] == ["running", "busybox:1"]
    assert "50.0 %" in row
    assert "5.0 MB" in row


def test_counts_that_began_anew_are_no_negative_rate():
    found = readings(overview(10, []), overview(12, [], requests=3))
    assert "requests 0/s" in summary(found)[1][0]


def test_the_tree_is_one_whatever_is_shown_of_it():
    found = readings(overview(10, [BUSY, container("gone", "stopped")]))
    lines = tree(found, View(), 200)
    assert [text.split("  ")[0] for text in texts(lines)][:3] == ["NAME", "zygote", "└─ supervisor"]
    assert next(text for text in texts(lines) if "containers" in text).split() == ["└─", "containers", "2"]
    assert [(text.split()[1], colour) for text, colour in lines[-2:]] == [("busy", GREEN), ("gone", "")]
    assert "exited (3) 9 seconds ago" in lines[-1][0]
    processes = {"busy1": [("1 sh", "S", "", "", "1 MB")]}
    below = texts(tree(found, View(), 200, processes))
    assert "│  └─ 1 sh" in below[-2]
    view = View()
    view.part = "containers"
    assert len(tree(found, view, 200)) == 3
    view.part = "actors"
    assert not [text for text in texts(tree(found, view, 200)) if "busy" in text]


def test_in_a_narrow_terminal_empty_columns_go_before_names_are_cut():
    found = readings(overview(10, [container("a-name-of-some-length", "running")]))
    wide, narrow = (texts(tree(found, View(), columns)) for columns in (200, 72))
    assert "RESTARTS" in wide[0]
    assert "RESTARTS" not in narrow[0]
    assert max(map(len, narrow)) <= 72
    assert "a-name-of-some-length" in narrow[-1]


def test_what_is_down_is_red_and_counted():
    down = overview(10, [], exits=[["volumes", "killed", 2], ["job", "normal", 5]])
    down["actors"][3] |= {"state": "restarting", "pid": 0}
    found = readings(down)
    assert summary(found)[0] == (
        "actord on h1, up 9 seconds: 4 actors, 1 down, 2 crashes; 0 of 0 containers run", RED
    )  # fmt: skip
    assert [colour for text, colour in tree(found, View(), 200) if "volumes" in text] == [RED]


def test_a_screen_is_as_large_as_the_terminal_and_scrolls_to_its_end_only():
    found = readings(overview(10, [container(f"c{number:03}", "running") for number in range(100)]))
    view = View()
    for rows in (5, 24, 60):
        lines = screen(found, view, 80, rows)
        assert len(lines) == rows
        assert max(map(len, texts(lines))) <= 80
    view.top = 10_000
    lines = screen(found, view, 80, 24)
    assert "c099" in lines[-2][0]
    assert lines[-1][0].startswith("q quit")


def test_what_comes_from_strangers_does_not_reach_the_terminal_as_it_is():
    evil = container("ok", "running", image="\x1b[2J\x07evil")
    text = "\n".join(texts(screen(readings(overview(10, [evil])), View(), 200, 40)))
    assert "\x1b" not in text
    assert "\x07" not in text


def test_news_are_crashes_and_ends_and_come_once():
    crash = {"seq": 1, "at": SECOND, "namespace": "actord", "topic": "/actors/child_terminated"}
    crash["body"] = {"child": "volumes", "reason": {"kind": "killed", "text": "killed by signal 9"}}
    end = {"seq": 2, "at": SECOND, "namespace": "default", "topic": "/tasks/exit"}
    end["body"] = {"container_id": "busy1", "exit_status": 3}
    start = {**end, "seq": 3, "topic": "/tasks/start"}
    found = readings(overview(10, []), overview(12, []), events=[crash, end, start])
    assert [one["seq"] for one in found.news] == [1, 2]
    lines = texts(screen(found, View(), 120, 30))
    assert lines[-3].endswith("actor volumes died: killed by signal 9")
    assert lines[-2].endswith("container default/busy1 exited (3)")


def test_blobs_on_their_way_have_a_bar():
    one = {"ref": "blob-x", "expected": "sha256:" + "a" * 64, "offset": 5_000_000, "total": 10_000_000}
    found = readings(
        overview(10, [], ingests=[one]), overview(12, [], ingests=[{**one, "offset": 6_000_000}])
    )
    [line] = [text for text in texts(screen(found, View(), 100, 30)) if "[==" in text]
    assert "6.0 MB / 10.0 MB" in line
    assert readings(overview(10, [])).arriving.layers == {}


def test_keys_change_what_is_shown():
    shown = Screen(readings(overview(10, [])), 1.0)
    view = shown._view
    assert shown._typed(b"s\x1b[B\x1b[6~j")
    assert (view.sort, view.top) == ("cpu", 12)
    assert shown._typed(b"ssv\x1b[Axp")
    assert (view.sort, view.part, view.top, view.paused) == ("name", "containers", 11, True)
    assert not shown._typed(b"q")


def test_no_other_command_pays_for_it():
    others = [name for name in COMMANDS if name not in ("top", "tree")]
    code = (
        f"import sys; from cli.main import command; [command(name) for name in {others}]; print(*sys.modules)"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    loaded = [name for name in done.stdout.split() if name.startswith(("cli.live", "cli.template"))]
    assert loaded == []
