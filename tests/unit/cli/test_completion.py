"""What the shells are told, by the rules of the commands themselves and by real shells."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cli.completion import SHELLS, candidates, everything
from cli.main import COMMANDS, main
from cli.options import GLOBAL
from tests.unit.cli.conftest import WEB

ACTR = Path(__file__).resolve().parents[3] / "bin/actr"


def words(line: str) -> list[str]:
    """What the last word of a line may be."""
    return [word for word, _ in candidates(line.split(" ")[1:])]


def test_every_command_and_every_option_is_offered():
    assert words("actr ") == list(COMMANDS)
    commands, groups = everything()
    for name, group in groups.items():
        assert words(f"actr {name} ") == list(group.verbs)
    for name, verb in commands.items():
        known = [one for option in (*verb.options, *GLOBAL) for one in option.names]
        assert words(f"actr {name} -") == known
        for option in verb.options:
            assert not option.choices or words(f"actr {name} {option.names[-1]} ") == list(option.choices)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("actr ru", ["run"]),
        ("actr --address /x ps --na", ["--namespace", "--names"]),
        ("actr -n other completion z", ["zsh"]),
        ("actr --node h2 system d", ["df"]),
        ("actr images --qu", ["--quiet"]),
        ("actr images -n a ch", ["check"]),
        ("actr run --pull al", ["always"]),
        ("actr run --pull=al", ["--pull=always"]),
        ("actr --format=", ["--format=table", "--format=json"]),
        ("actr chaos ", ["set", "list"]),
        ("actr run busybox -", []),
        ("actr run --env-file ", []),
        ("actr nothing ", list(COMMANDS)),
    ],
)
def test_the_last_word_of_a_line(line: str, wanted: list[str]):
    assert sorted(words(line)) == sorted(wanted)


@pytest.fixture
def stocked(daemon):
    daemon.answers("containers.list", {"containers": [WEB, {**WEB, "name": "db"}]})
    daemon.answers(
        "images.list", {"images": [{"name": "docker.io/library/busybox:1"}, {"name": "h:5000/a:2"}]}
    )
    daemon.answers("volumes.list", {"volumes": [{"name": "data"}]})
    daemon.answers("network.list", {"networks": [{"name": "bridge"}]})
    daemon.answers("nodes.list", {"own": "h1", "nodes": [{"name": "h2"}]})
    return daemon


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("actr rm ", ["web", "db"]),
        ("actr rm -f web d", ["db"]),
        ("actr exec w", ["web"]),
        ("actr exec web ", []),
        ("actr rename web ", []),
        ("actr rmi b", ["busybox:1"]),
        ("actr rmi docker.io/", ["docker.io/library/busybox:1"]),
        ("actr inspect ", ["web", "db", "busybox:1", "h:5000/a:2"]),
        ("actr volume rm ", ["data"]),
        ("actr network connect ", ["bridge"]),
        ("actr network connect bridge ", ["web", "db"]),
        ("actr run --net=", ["--net=bridge"]),
        ("actr --node ", ["h2"]),
        ("actr pull --from ", ["h2"]),
    ],
)
def test_names_are_those_of_what_there_is(stocked, line: str, wanted: list[str]):
    assert words(line) == wanted


def test_names_are_asked_for_where_the_line_works(stocked):
    assert words("actr -n other rm ") == ["web", "db"]
    (body,) = stocked.bodies("containers.list")
    assert (body["namespace"], body["brief"], body["page"]) == ("other", True, True)


def test_without_a_daemon_nothing_is_offered_and_nothing_said(capsys, tmp):
    assert main(["completion", "bash", "--address", str(tmp / "none.sock"), "rm", ""]) == 0
    assert capsys.readouterr() == ("", "")


def test_each_shell_gets_words_as_it_wants_them(stocked, capsys):
    said = {}
    for shell in SHELLS:
        assert main(["completion", shell, "rmi", "h:"]) == 0
        said[shell] = capsys.readouterr().out
    assert said == {"bash": "h:5000/a:2\n", "zsh": "h\\:5000/a\\:2\n", "fish": "h:5000/a:2\t\n"}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts_are_valid(capsys, shell: str):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"completion {shell} " in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("actr ru", ["run"]),
        ("actr system  ", ["backup", "check", "df", "gc", "prune", "repair"]),
        ("actr run --pull=al", ["always"]),
        ("actr run --pull al", ["always"]),
    ],
)
def test_bash_completes(capsys, line: str, wanted: list[str]):
    main(["completion", "bash"])
    ask = f"COMP_LINE='{line}' COMP_POINT={len(line)} COMP_WORDBREAKS=$' \\t\\n\"=:'; _actr '{ACTR}'"
    script = f"{capsys.readouterr().out}\n{ask}; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=True)
    assert (sorted(done.stdout.split()), done.stderr) == (wanted, "")
