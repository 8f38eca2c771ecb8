"""actr containerd: what a containerd leaves behind."""

from __future__ import annotations

from cli.options import Group

GROUP = Group(
    "containerd",
    "Move over from a containerd",
    {"import": "take over images and their content from a containerd that is stopped"},
)
