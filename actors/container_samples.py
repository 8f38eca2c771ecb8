"""The samples of containers as Prometheus reads them, in either of its formats. Pure.

The client library makes an object of each sample and looks at each of its labels' names; with a thousand
containers that is most of a scrape. What all samples of a container have in common is written once here.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from actors.container_metrics import GAUGES, PREFIX, samples

_ESCAPED: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
Owned = tuple[Mapping[str, str], Mapping[str, Any]]  # labels of a container, its figures


def families(found: Iterable[Owned]) -> dict[str, list[str]]:
    """Lines by the names of their metrics: they have to stand together."""
    lines: dict[str, list[str]] = {}
    for labels, figures in found:
        own = _labels(labels.items())
        for name, value, more in samples(figures):
            braces = f"{own},{_labels(more)}" if more else own
            line = f"{PREFIX}_{name}{{{braces}}} {value}\n"
            try:
                lines[name].append(line)
            except KeyError:
                lines[name] = [line]
    return lines


def text(lines: Mapping[str, list[str]], *, open_metrics: bool) -> str:
    """Each family below what it is. In OpenMetrics the name of a counter has no suffix there."""
    pieces: list[str] = []
    for name, own in lines.items():
        is_counter = name.endswith("_total") and name not in GAUGES
        full = f"{PREFIX}_{name.removesuffix('_total') if is_counter and open_metrics else name}"
        what = f"{name.replace('_', ' ')}, from the control group."  # the kernel's documentation has more
        pieces.append(f"# HELP {full} {what}\n# TYPE {full} {'counter' if is_counter else 'gauge'}\n")
        pieces += own
    return "".join(pieces)


def _labels(pairs: Iterable[tuple[str, str]]) -> str:
    return ",".join([f'{key}="{value.translate(_ESCAPED)}"' for key, value in pairs])
