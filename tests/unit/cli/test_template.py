"""--format TEMPLATE: what people know from docker, and errors that say what there is."""

from __future__ import annotations

import pytest

from cli.options import UsageError
from cli.table import table
from cli.template import Template

WEB = {
    "id": "ab12", "name": "web", "task": {"pid": 7, "exit_code": None}, "labels": {"tier": "front"},
    "created_at": 5, "args": ["a", "b"], "tty": True,
}  # fmt: skip
NEW = {"id": "cd34", "name": "new", "task": None, "labels": {}, "created_at": 6, "args": [], "tty": False}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("{{.Name}}", ["web", "new"]),
        ("{{ .name }}/{{.ID}}", ["web/ab12", "new/cd34"]),
        ("{{.Task.Pid}}", ["7", ""]),
        ("{{.CreatedAt}} {{.created_at}}", ["5 5", "6 6"]),
        ("{{.Labels.tier}}", ["front", ""]),
        ("{{json .Labels}}", ['{"tier": "front"}', "{}"]),
        ("{{.Args}} {{.TTY}}", ['["a", "b"] true', "[] false"]),
        ("{{.Name}}\\t{{.ID}}\\n", ["web\tab12\n", "new\tcd34\n"]),
        ("{{.Task.ExitCode}}", ["", ""]),
        ("{{\n.Name\n}}}}", ["web}}", "new}}"]),
        ("{{json .Task.Pid}}", ["7", "null"]),
    ],
)
def test_a_line_for_each(text: str, lines: list[str]):
    assert list(Template(text).lines([WEB, NEW])) == lines


def test_of_one_thing_it_is_one_line():
    assert list(Template("{{.Name}}").lines(WEB)) == ["web"]
    assert list(Template("{{json .}}").lines({"a": 1})) == ['{"a": 1}']


def test_of_nothing_it_is_nothing():
    assert list(Template("{{.Whatever}}").lines([])) == []


def test_a_table_has_heads():
    assert Template("table {{.Name}}\\t{{.Task.Pid}}").rows([WEB, NEW]) == (
        ["NAME", "PID"], [["web", "7"], ["new", ""]]
    )  # fmt: skip


def test_a_tab_in_a_value_makes_no_column():
    tabbed = {**WEB, "labels": {"tier": "a\tb"}}
    heads, rows = Template("table {{ json\t.Name}}\t{{.Labels.tier}}").rows([tabbed])
    assert (heads, rows) == (["NAME", "TIER"], [['"web"', "a\tb"]])
    assert table(heads, rows) == ["NAME   TIER", '"web"  a?b']


@pytest.mark.parametrize("text", ["{{.ID", "{{.ID}", "{{.ID}} {{.Name", "table {{.ID", "{{.ID}}{{"])
def test_braces_that_are_not_closed_are_refused(text: str):
    with pytest.raises(UsageError, match="without its"):
        Template(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{.Nmae}}", r"no field Nmae in \{\{\.Nmae\}\}; there are \.id, \.name"),
        ("{{.Task.Code}}", r"no field Code .* there are \.pid, \.exit_code"),
        ("{{.Name.First}}", "no field First .* there are none"),
    ],
)
def test_a_field_that_none_of_them_has_is_refused(text: str, said: str):
    with pytest.raises(UsageError, match=said):
        list(Template(text).lines([WEB, NEW]))


@pytest.mark.parametrize(
    "text", ["{{range .}}", "{{.Name | upper}}", "{{}}", "{{if .Tty}}x{{end}}", "{{.a b}}"]
)
def test_what_is_not_known_of_templates_is_refused(text: str):
    with pytest.raises(UsageError, match="--format knows"):
        Template(text)
