"""Tables, sizes, times, progress and hints: all pure."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.hints import hint
from cli.progress import Bars, Layers, Lines, bar_of, progress
from cli.session import Session, socket_path
from cli.table import (
    SECOND,
    ago,
    brief,
    columns,
    cut,
    cut_front,
    familiar,
    fitted,
    printable,
    short,
    size,
    span,
    squeezed,
    stamp,
    table,
)

CELLS = st.lists(st.tuples(st.text(max_size=30), st.text(max_size=60), st.text(max_size=8)), max_size=8)


def test_a_table():
    lines = table(("NAME", "PID"), [("web", "1"), ("database", "22")])
    assert lines == ["NAME      PID", "web       1", "database  22"]


@given(CELLS, st.integers(30, 120))
def test_a_table_fits(rows, width):
    lines = table(("A", "B", "C"), rows, (0, 1), width, (1,))
    assert len(lines) == len(rows) + 1
    assert all(columns(line) <= width for line in lines)
    assert all(line.isprintable() for line in lines)


def test_the_widest_column_is_cut_first_and_the_others_never():
    assert fitted([10, 50, 12], (0, 1), 50) == [10, 24, 12]
    assert fitted([10, 50, 12], (0, 1), 10) == [8, 8, 12]
    assert table(("A", "B"), [("x" * 20, "keep me whole")], (0,), 25)[1] == "xxxxxxxxx…  keep me whole"


@given(CELLS, st.integers(20, 120), st.integers(0, 2), st.lists(st.integers(0, 2), unique=True))
def test_a_table_that_must_fit_does_whatever_is_in_it(rows, width, naming, flexible):
    lines = table(("IDENTITY", "RATHER LONG", "C"), rows, flexible, width, (1,), naming)
    assert len(lines) == len(rows) + 1
    assert all(columns(line) <= width for line in lines)


@pytest.mark.parametrize(
    ("width", "fits"),
    [
        (80, [40, 12, 8, 14]),
        (75, [40, 8, 8, 13]),
        (60, [30, 8, 8, 8]),
        (50, [20, 8, 8, 8]),
        (40, [20, 4, 5, 5]),
        (20, [5, 3, 3, 3]),
    ],
)
def test_what_names_a_row_is_cut_last(width, fits):
    assert squeezed([40, 20, 8, 14], (0, 1), width, 0) == fits


def test_wide_characters_take_two_columns_and_accents_none():
    lines = table(("COMMAND", "PID"), [("echo 你好", "1"), ("cafe\u0301", "2"), ("plain", "3")])
    assert lines == ["COMMAND    PID", "echo 你好  1", "cafe\u0301       2", "plain      3"]
    assert [cut("你好世界", width) for width in (8, 7, 6, 2)] == ["你好世界", "你好世…", "你好…", "…"]
    assert [cut_front("你好世界", width) for width in (8, 7, 6)] == ["你好世界", "…好世界", "…世界"]
    assert cut("e\u0301" * 5, 5) == "e\u0301" * 5
    assert cut("e\u0301" * 5, 4) == "e\u0301" * 3 + "…"


def test_without_a_terminal_nothing_is_cut():
    assert table(("A",), [("x" * 500,)], (0,), None)[1] == "x" * 500


def test_no_control_characters_reach_the_terminal():
    assert printable("a\x1b[31m\nb") == "a?[31m?b"
    assert cut("abcdef", 4) == "abc…"
    assert cut_front("abcdef", 4) == "…def"


def test_a_column_may_keep_its_end():
    lines = table(("IMAGE", "B"), [("127.0.0.1:5000/library/busybox:latest", "x")], (0,), 18, (0,))
    assert lines[1] == "…busybox:latest  x"


def test_names_of_images_as_people_type_them():
    names = ("docker.io/library/busybox:latest", "docker.io/a/b:1", "host:5000/library/b:1", "library/x")
    assert [familiar(name) for name in names] == [
        "busybox:latest",
        "a/b:1",
        "host:5000/library/b:1",
        "library/x",
    ]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (95_300_000, "95.3 MB"),
        (999_960, "1.0 MB"),
        (2e12, "2.0 TB"),
    ],
)
def test_sizes(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (61, "1 minute"),
        (7200, "2 hours"),
        (90000, "1 day"),
    ],
)
def test_spans(seconds, text):
    assert span(seconds * SECOND) == text
    assert ago(SECOND, (seconds + 1) * SECOND) == f"{text} ago"


def test_never_is_empty():
    assert ago(0, 5) == ""
    assert span(-5) == "0 seconds"
    assert brief(125 * SECOND) == "2m"


def test_stamps_and_short_ids():
    assert stamp(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456Z"
    assert short("sha256:" + "ab" * 32) == short("ab" * 32) == "ab" * 6


# Progress


def test_bars():
    assert bar_of(0, 100, 10) == "[>         ]"
    assert bar_of(50, 100, 10) == "[=====>    ]"
    assert bar_of(100, 100, 10) == bar_of(200, 100, 10) == "[==========]"
    assert bar_of(-1, 100, 10) == "[>         ]"


def part(ref, status, offset=0, total=0):
    return {"ref": ref, "status": status, "offset": offset, "total": total}


def layers(*parts):
    found = Layers()
    for one in parts:
        found.update(one)
    return found


ONE = "sha256:" + "1f" * 32
TWO = "sha256:" + "2e" * 32


def test_layers_as_lines():
    found = layers(
        part("reg/busybox:1", "resolving"),
        part(ONE, "downloading", 20_000_000, 40_000_000),
        part(TWO, "waiting", 0, 900),
    )
    assert found.lines(80, 24) == [
        "1f1f1f1f1f1f  downloading  [===============>              ]  20.0 MB / 40.0 MB",
        "2e2e2e2e2e2e  waiting      900 B",
    ]
    found.finish()
    assert [line.split()[1] for line in found.lines(80, 24)] == ["done", "done"]


def test_the_name_is_shown_until_there_are_layers():
    assert layers(part("reg/busybox:1", "resolving")).lines(80, 24) == ["reg/busybox:1  resolving"]


@given(st.integers(20, 200), st.integers(3, 40), st.integers(0, 60))
def test_lines_fit_every_terminal(columns, rows, count):
    found = layers(*(part(f"sha256:{one:064x}", "downloading", one, 100) for one in range(count)))
    lines = found.lines(columns, rows)
    assert len(lines) <= max(2, rows - 1)
    assert all(len(line) <= columns for line in lines)


def test_of_many_layers_those_at_work_are_shown():
    parts = [part(f"sha256:{one:064x}", "done", 9, 9) for one in range(30)]
    found = layers(*parts, part(ONE, "extracting", 5, 10))
    lines = found.lines(80, 10)
    assert any("1f1f1f1f1f1f  extracting" in line for line in lines)
    assert lines[-1] == "and 23 more"


def test_plain_lines_say_each_change_once():
    out = io.StringIO()
    lines = Lines(out)
    for one in (
        part(ONE, "downloading", 0, 5000),
        part(ONE, "downloading", 10, 5000),
        part(ONE, "done", 5000, 5000),
    ):
        lines.part(one)
    lines.close()
    assert out.getvalue() == "1f1f1f1f1f1f: downloading 5.0 kB\n1f1f1f1f1f1f: done 5.0 kB\n"


def test_bars_are_drawn_in_place():
    out = io.StringIO()
    bars = Bars(out)
    bars.part(part(ONE, "downloading", 1, 10))
    bars.part(part(TWO, "waiting"))
    bars.close()
    first, second = out.getvalue().split("\x1b[J")[:2]
    assert first.startswith("\r1f1f")
    assert second.startswith("\x1b[1A\r1f1f")
    assert second.count("\n") == 2


def test_quiet_and_not_a_terminal():
    assert type(progress(io.StringIO())).__name__ == "Lines"
    assert type(progress(io.StringIO(), quiet=True)).__name__ == "Quiet"


# Hints


@pytest.mark.parametrize(
    ("code", "op", "body", "wanted"),
    [
        (
            "not_found",
            "containers.create",
            {"image": "busybox", "id": "x"},
            "pull it first: actr pull busybox",
        ),
        ("not_found", "images.get", {"name": "a/b:1"}, "pull it first: actr pull a/b:1"),
        ("not_found", "containers.get", {"id": "web"}, "list what there is: actr ps -a"),
        ("already_exists", "containers.create", {"name": "web", "id": "3f"}, "for example: actr rm -f web"),
        ("failed_precondition", "images.delete", {"name": "b"}, "or: actr rmi -f b"),
        ("unavailable", "tasks.stop", {}, "try again, or see what the daemon does: actr actors"),
        ("invalid_argument", "images.get", {}, ""),
    ],
)
def test_hints(code, op, body, wanted):
    assert hint(code, op, body) == wanted


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text()))
def test_any_error_has_a_hint_or_none(code, op, body):
    assert isinstance(hint(code, op, body), str)


def test_braces_in_names_do_no_harm():
    assert hint("not_found", "images.get", {"name": "{x}"}) == "pull it first: actr pull {x}"


def test_what_is_uncertain_is_not_simply_tried_again():
    said = hint("unavailable", "containers.remove", {}, outcome="unknown")
    assert said.startswith("see whether it was done")


# Where the daemon is


def test_addresses(tmp):
    assert socket_path("/a/b.sock") == "/a/b.sock"
    assert socket_path("ipc:///a/b.sock") == "/a/b.sock"
    assert socket_path(str(tmp)) == f"{tmp}/actord.sock"
    assert Session("/a", "n").another().namespace == "n"
