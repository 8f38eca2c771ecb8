"""The documentation says what the code does: operations, commands, links and test vectors."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actors.messages import OPERATIONS
from actors.runtime.wishes import Wishes
from cli import options
from cli.examples import EXAMPLES, examples_of
from cli.main import COMMANDS, command, member
from cli.options import Given, Group, HelpWanted, UsageError, parse_command
from transport.envelope import TYPES, Envelope, parse
from transport.errors import CODES, ProtocolError

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PROTOCOL = (DOCS / "protocol.md").read_text()
VECTORS = json.loads((DOCS / "protocol" / "vectors.json").read_text())
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
HEADER = {
    "t": "type", "id": "id", "re": "re", "to": "to", "fr": "fr", "by": "by", "inc": "inc", "m": "op",
    "dl": "deadline", "ik": "key", "sq": "seq", "nr": "number", "cr": "credit", "tr": "trace",
}  # fmt: skip
REGENERATE = "run: PYTHONPATH=. .venv/bin/python docs/generate_protocol.py"


def _generator(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return _generator("generate_protocol")


def _section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its rank or higher."""
    rank = heading.partition(" ")[0]
    found = re.search(
        rf"^{re.escape(heading)}$\n(.*?)(?=^#{{1,{len(rank)}}} |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert found, heading
    return found[1]


def _first_column(section: str) -> list[str]:
    """The code words that begin the rows of its tables."""
    return [word for row in re.findall(r"^\| (.*?) \|", section, re.MULTILINE) for word in _code(row)]


def _code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


# The protocol


def test_what_is_generated_is_up_to_date(generator: ModuleType):
    assert generator.with_operations(PROTOCOL) == PROTOCOL, REGENERATE
    assert generator.vectors() == generator.VECTORS.read_text(), REGENERATE


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_described_under_its_owner(name: str):
    operation = OPERATIONS[name]
    entry = _section(_section(PROTOCOL, f"### {operation.owner}"), f"#### `{name}`")
    marks = ["repeatable"] * operation.repeatable + ["streams"] * operation.streams
    found = re.search(r"\*\((.+?)\)\*", entry)
    assert (found[1].split(", ") if found else []) == marks
    assert _first_column(entry) == list(operation.body.__dataclass_fields__)  # type: ignore[attr-defined]


def test_no_operation_is_described_that_does_not_exist():
    assert set(re.findall(r"^#### `(.+)`$", PROTOCOL, re.MULTILINE)) == set(OPERATIONS)


def test_each_module_beside_the_actors_is_on_the_map():
    """Whose it is, says docs/architecture.md, "Where things are"; an actor has the name of its file."""
    text = (DOCS / "architecture.md").read_text()
    where = text[text.index("## Where things are") : text.index("## The zygote")]
    known = {operation.owner for operation in OPERATIONS.values()} | {
        "container",
        "puller",
        "job",
        "__init__",
    }
    modules = {path.stem for path in (ROOT / "actors").glob("*.py")} - known
    assert sorted(one for one in modules if f"`{one}.py`" not in where) == []
    named = set(re.findall(r"`(\w+)\.py`", where))
    here = {
        path.stem for folder in ("actors", "transport", "storage") for path in (ROOT / folder).glob("*.py")
    }
    assert sorted(named - here) == []


def test_header_keys_types_and_codes_are_all_named():
    frames = _section(PROTOCOL, "## Frames")
    assert [word for word in _first_column(frames) if word.islower()] == list(HEADER)
    types = re.findall(r"^\| ([A-Z, ]+) \|", frames, re.MULTILINE)
    assert {word for row in types for word in row.split(", ")} == TYPES
    assert set(_first_column(_section(PROTOCOL, "## Errors"))) >= CODES


def test_the_options_of_a_container_are_all_named():
    options = _first_column(_section(PROTOCOL, "## Options of a container"))
    assert sorted(options) == sorted(Wishes.__dataclass_fields__)


# Test vectors


def _frames(vector: dict[str, Any], key: str = "frames") -> list[bytes]:
    return [bytes.fromhex(frame) for frame in vector[key]]


def _header(message: Envelope) -> dict[str, Any]:
    values = {key: getattr(message, name) for key, name in HEADER.items()}
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in values.items() if value}


@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda vector: vector["name"])
def test_a_good_message_is_read_and_written_as_the_vector_says(vector: dict[str, Any]):
    message = parse(_frames(vector))
    assert _header(message) == vector["header"]
    assert message.value() == vector["body"]
    assert [buffer.hex() for buffer in message.buffers] == vector["buffers"]
    assert message.to_frames() == _frames(vector, "canonical" if vector["canonical"] else "frames")
    assert parse(message.to_frames()) == message


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=lambda vector: vector["name"])
def test_a_bad_message_is_refused(vector: dict[str, Any]):
    if vector["refused"] == "message":
        with pytest.raises(ProtocolError):
            parse(_frames(vector))
    else:
        message = parse(_frames(vector))
        with pytest.raises(ProtocolError):
            message.value()


def test_the_vectors_cover_every_type_in_use():
    used = {vector["header"]["t"] for vector in VECTORS["good"]}
    assert used == TYPES - {"SUB"}


# The command line


def _documented_commands() -> set[str]:
    words = _first_column(_section((DOCS / "actr.md").read_text(), "## Commands"))
    return {word.partition(" ")[0] for word in words}


def test_the_documented_commands_are_those_that_exist():
    assert _documented_commands() == set(COMMANDS)


@pytest.mark.parametrize("command", sorted(_documented_commands()))
def test_a_documented_command_explains_itself(command: str):
    done = subprocess.run(
        [ROOT / "bin/actr", command, "--help"], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    assert command in done.stdout


def test_the_reference_is_up_to_date():
    pages = _generator("generate_reference").pages()
    written = {path: path.read_text() for path in (DOCS / "reference").iterdir()}
    assert written == pages, "run: PYTHONPATH=. .venv/bin/python docs/generate_reference.py"


def _parses(line: str) -> None:
    """Raises UsageError unless the line's command knows its options and the number of its arguments."""
    given = Given()
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(itertools.takewhile(lambda word: not set(word) <= set("();<>|&"), lexer))
    rest = options.parse(options.GLOBAL, words[1:], given, 1)
    verb = command(given.arguments.pop())
    if isinstance(verb, Group):
        verb = member(verb, rest.pop(0) if rest and rest[0] in verb.verbs else verb.default)
    with contextlib.suppress(HelpWanted):
        parse_command(verb, rest, given)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_command_that_makes_sense(name: str):
    assert EXAMPLES[name]
    for line in examples_of(name):
        assert f"{line} ".startswith((f"actr {name} ", f"actr {name.partition(' ')[0]} "))
        _parses(line)


def _typed(page: Path) -> list[str]:
    """Commands of actr in the blocks of a page, without what a column beside them says."""
    blocks = re.findall(r"(?m)^(?:    |```.*\n)(?:[$#] )?(actr .+)$", page.read_text())
    return [re.sub(r" {4,}.*| \d?>(&\d| */dev/null)", "", line) for line in blocks if "..." not in line]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_typed_in_the_documentation_makes_sense(page: Path):
    for line in _typed(page):
        if "[OPTIONS]" not in line and "COMMAND" not in line:
            try:
                _parses(line)
            except (UsageError, ValueError) as error:
                pytest.fail(f"{page.name}: {line}: {error}", pytrace=False)


# Links


def _anchors(page: Path) -> set[str]:
    """As the usual renderers make them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _links(page: Path) -> list[str]:
    prose = re.sub(r"^(```.*?^```|    .*?$)", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_internal_links_lead_somewhere(page: Path):
    for link in _links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in _anchors(target), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_tests_that_are_named_exist(page: Path):
    """Paths and test names in code words, as `actors/tree.py` and `test_leaks.py`."""
    text = page.read_text()
    paths = re.findall(r"`((?:actors|bin|cli|docs|etc|storage|tests|transport|bench)/[\w./-]*)`", text)
    assert not [path for path in paths if not (ROOT / path).exists()]
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", text))
    assert not [name for name in named if f"def {name}(" not in sources]
