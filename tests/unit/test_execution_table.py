"""docs/execution.md names every flag of `run` and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.creating import OPTIONS
from cli.main import COMMANDS
from cli.networking import OPTIONS as NETWORK

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/execution.md").read_text()
ROWS = [row.split(" | ") for row in re.findall(r"^\| (`.+) \|$", PAGE, re.MULTILINE)]
OF_OTHERS = {option.key for option in NETWORK} | {"snapshotter"}  # shown by tests of their own


def words(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_every_flag_of_run_has_its_row():
    named = {word.removeprefix("--") for row in ROWS for word in words(row[0]) if word.startswith("--")}
    own = {option.key for option in OPTIONS} - OF_OTHERS
    assert own - named == set()
    assert named - {option.key for option in OPTIONS} == set()


def test_every_operation_in_it_exists():
    section = PAGE.split("## Operations")[1].split("## Fields")[0]
    rows = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    assert {word for row in rows for word in words(row)} <= set(COMMANDS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_the_tests_that_it_names_exist(row: list[str]):
    named = [word for word in words(row[-1]) if "test_" in word]
    for word in named:
        file, _, name = word.rpartition("::")
        text = (ROOT / "tests/e2e" / (file or "test_flags.py")).read_text()
        assert f"def {name}(" in text, word
    assert named


@pytest.mark.parametrize("row", [row for row in ROWS if "--" in row[0]], ids=lambda row: row[0][:40])
def test_each_flag_is_shown_with_both_runtimes(row: list[str]):
    taken = []
    for word in (word for word in words(row[-1]) if "test_" in word):
        file, _, name = word.rpartition("::")
        text = (ROOT / "tests/e2e" / (file or "test_flags.py")).read_text()
        found = re.search(rf"def {name}\((.*?)\)", text, re.DOTALL)
        taken.append(found is not None and "runtime" in found[1])
    assert any(taken)
