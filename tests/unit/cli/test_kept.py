"""The file of compiled modules: used when it fits, never when it does not, and made anew by itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import MAGIC_NUMBER
from pathlib import Path

import pytest

from cli.kept import HEAD, PACKAGES, file_of

ROOT = Path(__file__).resolve().parents[3]
SKIPPED = shutil.ignore_patterns("__pycache__")


@pytest.fixture
def checkout(tmp):
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp / package, ignore=SKIPPED)
    (tmp / "bin").mkdir()
    shutil.copy(ROOT / "bin/actr", tmp / "bin")
    (tmp / ".venv").symlink_to(ROOT / ".venv")
    return tmp


def run(checkout: Path, *words: str, code: int = 0) -> str:
    """By the interpreter that says who imports what."""
    command = [sys.executable, "-ISv", str(checkout / "bin/actr"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr[-2000:]
    assert [path for path in (checkout / "cli/__pycache__").glob("actr.*") if path.suffix.isdigit()] == []
    return done.stdout + done.stderr


def looked_for(said: str) -> set[str]:
    """The modules of ours that were not in the file."""
    lines = [
        line for line in said.splitlines() if line.startswith("import 'cli") and "SourceFileLoader" in line
    ]
    return {line.split("'")[1] for line in lines}


def test_what_was_imported_once_is_not_looked_for_again(checkout):
    assert "cli.main" in looked_for(run(checkout, "version", "--client"))
    said = run(checkout, "version", "--client")
    assert looked_for(said) == set()
    assert "import 'cli.main' # <cli.kept.Kept object" in said
    assert "import '__future__' # <cli.kept.Kept object" in said
    assert looked_for(run(checkout, "ps", "--help")) >= {"cli.ps", "cli.usage"}
    assert (
        looked_for(run(checkout, "ps", "--help")) == looked_for(run(checkout, "version", "--client")) == set()
    )
    complete = ("completion", "bash", "start", "-")
    assert looked_for(run(checkout, *complete)) >= {"cli.completion", "cli.start"}
    assert looked_for(run(checkout, *complete)) == set()


def test_a_module_that_was_changed_is_taken_as_it_is(checkout):
    for _ in range(2):
        run(checkout, "version", "--client")
    source = checkout / "cli/version.py"
    text = source.read_text()
    assert "client  " in text
    source.write_text(text.replace("client  ", "Client  "))  # of the same size
    said = run(checkout, "version", "--client")
    assert "Client  " in said
    assert looked_for(said) == {"cli.version"}
    said = run(checkout, "version", "--client")
    assert "Client  " in said
    assert looked_for(said) == set()
    source.unlink()
    assert "No module named 'cli.version'" in run(checkout, "version", "--client", code=1)


def test_the_finder_itself_is_taken_as_it_is(checkout):
    for _ in range(2):
        run(checkout, "version", "--client")
    with (checkout / "cli/kept.py").open("a") as source:
        source.write("\nraise SystemExit(77)\n")
    run(checkout, "version", "--client", code=77)


def test_a_file_that_is_damaged_or_of_another_python_is_made_anew(checkout):
    run(checkout, "version", "--client")
    kept = Path(file_of(str(checkout)))
    whole = kept.read_bytes()
    assert whole.startswith(MAGIC_NUMBER)
    damaged = [b"", whole[:3], whole[:100], whole[: HEAD - 1], whole[: HEAD + 10], b"\0" * len(whole)]
    damaged += [
        b"abcd" + whole[4:],
        whole[:4] + bytes(len(whole) - 4),
        whole[:HEAD] + bytes(len(whole) - HEAD),
    ]
    for content in damaged:
        kept.write_bytes(content)
        said = run(checkout, "version", "--client")
        assert "client  " in said
        assert looked_for(said) != set()
        assert looked_for(run(checkout, "version", "--client")) == set()


def test_where_it_cannot_be_written_all_is_imported_as_ever(checkout):
    (checkout / "cli/__pycache__").write_text("in the way")
    command = [checkout / "bin/actr", "version", "--client"]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert (done.stdout[:8], done.stderr) == ("client  ", "")


def test_a_copy_of_a_checkout_has_nothing_to_do_with_it(checkout, tmp_path):
    for _ in range(2):
        run(checkout, "version", "--client")
    copy = tmp_path / "copy"
    shutil.copytree(checkout, copy, symlinks=True)
    assert looked_for(run(copy, "version", "--client")) == set()
    source = copy / "cli/version.py"
    source.write_text(source.read_text().replace("client  ", "Client  "))
    assert "Client  " in run(copy, "version", "--client")
    assert "client  " in run(checkout, "version", "--client")


def test_that_of_a_package_is_for_good_and_for_its_place(checkout, tmp_path):
    place = tmp_path / "place"
    (checkout / "cli/__pycache__").mkdir()  # where bin/package has compiled all
    command = [sys.executable, "-P", ROOT / "packaging/kept.py", checkout, place]
    subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, timeout=60, check=True, capture_output=True)
    checkout.rename(place)
    (place / "cli/version.py").write_text("raise SystemExit(1)\n")
    program = (ROOT / "packaging/actr").read_text().replace("/usr/lib/actord", str(place))
    command = [sys.executable, "-ISvc", program, "version", "--client"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert looked_for(done.stderr) == set()
    assert done.stdout.startswith("client  ")
