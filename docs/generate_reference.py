#!/usr/bin/env python3
"""Writes docs/reference/ from the code: commands, configuration, metrics.

    PYTHONPATH=. .venv/bin/python docs/generate_reference.py

tests/unit/test_docs.py fails when the result differs from what is there, so it cannot drift.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from actors.container_metrics import PREFIX
from actors.metric_names import METRICS
from cli.completion import everything
from cli.examples import examples_of
from cli.main import COMMANDS
from cli.notes import notes_of
from cli.options import GLOBAL, Command, Option
from transport.durations import BOUNDS

DOCS: Final = Path(__file__).resolve().parent
REFERENCE: Final = DOCS / "reference"
WRITTEN: Final = "<!-- written by docs/generate_reference.py -->"
METRICS_PAGE: Final = """\
# Metrics

{written}

At `/metrics` and `/v1/metrics` of the address `listen` under `[metrics]`, as text or OpenMetrics. A scrape
wakes no container's actor, however many there are. Counters begin anew with the process that counts, as they
may. Histograms have buckets up to {bounds} seconds.

## Of the daemon

| metric | type | labels | |
|---|---|---|---|
{rows}

## Of containers

`{prefix}_…`: names and labels (`container_id`, `namespace`, `runtime`) are those of containerd 1.6 for both
versions of control groups, the values those of the kernel's files. Some of them:

| version | names |
|---|---|
| both | `container_pids_current`, `container_pids_limit`, `container_memory_usage_limit_bytes` |
| 1 | `container_cpu_total_nanoseconds`, `container_memory_usage_usage_bytes`, `container_memory_rss_bytes` |
| 2 | `container_cpu_usage_usec_microseconds`, `container_memory_usage_bytes`, `container_io_rbytes_bytes` |
"""


def pages() -> Mapping[Path, str]:
    """Every page with its text."""
    made = {"commands": commands(), "configuration": configuration(), "metrics": metrics()}
    return {REFERENCE / f"{name}.md": text for name, text in made.items()}


def commands() -> str:
    """Every command with its options and examples."""
    known, groups = everything()
    lines = ["# Commands", "", WRITTEN, ""]
    lines += ["What to rely on (output, exit codes, signals, templates) is in [actr.md](../actr.md).", ""]
    lines += ["Of an option, brackets have the default, and `...` says that it may be given again.", ""]
    lines += ["## Everywhere", "", *_options(GLOBAL), ""]
    for name in COMMANDS:
        if name in groups:
            lines += [f"## {name}", "", f"{groups[name].summary}.", ""]
            for verb in groups[name].verbs:
                lines += _command(known[f"{name} {verb}"], 3)
        else:
            lines += _command(known[name], 2)
    return "\n".join(lines).rstrip() + "\n"


def _command(command: Command, rank: int) -> list[str]:
    usage = " ".join(("actr", command.name, *(["[OPTIONS]"] if command.options else []), *command.arguments))
    lines = [f"{'#' * rank} {command.name}", "", f"{command.summary}.", "", f"    {usage}", ""]
    notes = notes_of(command.name)
    lines += [*notes, ""] if notes else []
    if command.options:
        lines += [*_options(command.options), ""]
    examples = examples_of(command.name)
    return [*lines, *(f"    {line}" for line in examples), ""] if examples else lines


def _options(options: tuple[Option, ...]) -> list[str]:
    rows = [f"| `{one.shown}` | {_cell(one.help)} |" for one in options]
    return ["| option | |", "|---|---|", *rows]


def configuration() -> str:
    """Every key of etc/actord.toml, which a test holds to the daemon's own defaults."""
    lines = ["# Configuration", "", WRITTEN, ""]
    lines += [
        "By default `/etc/actord/actord.toml`. Options of `actord` win over it; an unknown key is an error.",
        "`etc/actord.toml` is the same as a file to copy.", "",
    ]  # fmt: skip
    for table, rows in _tables((DOCS.parent / "etc/actord.toml").read_text()).items():
        lines += [f"## {table or 'At the top'}", "", "| key | default | |", "|---|---|---|"]
        lines += [f"| `{key}` | `{default}` | {_cell(text)} |" for key, default, text in rows]
        lines += [""]
    return "\n".join(lines).rstrip() + "\n"


def _tables(text: str) -> Mapping[str, list[tuple[str, str, str]]]:
    found: dict[str, list[tuple[str, str, str]]] = {}
    table, said = "", ""
    for line in text.splitlines():
        if head := re.fullmatch(r"\[(\w+)\]", line):
            table, said = head[1], ""
        elif key := re.fullmatch(r"#(\w+) = (.*)", line):
            found.setdefault(table, []).append((key[1], key[2], said.strip()))
        elif line.startswith("# "):
            said += f"{line[2:]} "
        else:
            said = ""
    return found


def metrics() -> str:
    """Those of the daemon one by one; those of containers are containerd's."""
    bounds = ", ".join(f"{bound:g}" for bound in BOUNDS)
    return METRICS_PAGE.format(written=WRITTEN, bounds=bounds, rows="\n".join(_metric_rows()), prefix=PREFIX)


def _metric_rows() -> Iterator[str]:
    for one in METRICS:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        yield f"| `{one.full}` | {one.kind} | {labels} | {_cell(one.text)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").rstrip(".") + "."


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text)
