"""The report of a benchmark: what is in its tables, and that its pictures are drawn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from bench import report
from bench.pairs import Comparison

if TYPE_CHECKING:
    from pathlib import Path

SVG = "{http://www.w3.org/2000/svg}"
START = Comparison("start of <true>", "ms", {"ctr run": [0.1, 0.12, 0.09], "  actr run": [0.05, 0.04, 0.07]})


def test_tables_pictures_and_samples_are_written(tmp: Path):
    memory = Comparison("memory", "MiB", {"shim": [3.0 * 2**20], "asleep": [0.0]})
    report.write(tmp / "out", {"machine": "2 cores"}, [START, memory])
    page = (tmp / "out/report.md").read_text()
    assert "- machine: 2 cores" in page
    assert "| ctr run | 100.00 | 90.00 | 120.00 | 1.00 | 3 |" in page
    assert "| actr run | 50.00 | 40.00 | 70.00 | 0.50 | 3 |" in page
    assert "| asleep | 0.00 | 0.00 | 0.00 | 0.00 | 1 |" in page
    assert "](start-of-true.svg)" in page
    found = json.loads((tmp / "out/samples.json").read_text())
    assert found["facts"] == {"machine": "2 cores"}
    assert found["results"][0]["cases"]["  actr run"]["samples"] == [0.05, 0.04, 0.07]
    assert sorted(path.name for path in (tmp / "out").glob("*.svg")) == ["memory.svg", "start-of-true.svg"]


def test_a_bar_is_as_long_as_its_median_and_its_line_reaches_the_extremes():
    picture = ET.fromstring(report.svg(START))  # noqa: S314  # our own
    bars = [float(one.attrib["width"]) for one in picture.iter(f"{SVG}rect")][1:]
    room = report.WIDTH - report.NAMES - report.FIGURES
    assert bars == pytest.approx([room * 0.1 / 0.12, room * 0.05 / 0.12], abs=0.1)
    lines = [(float(one.attrib["x1"]), float(one.attrib["x2"])) for one in picture.iter(f"{SVG}line")]
    assert lines[0] == pytest.approx((report.NAMES + room * 0.09 / 0.12, report.NAMES + room), abs=0.1)
    texts = [one.text for one in picture.iter(f"{SVG}text")]
    assert texts == ["start of <true> (ms)", "ctr run", "100.00", "actr run", "50.00"]
