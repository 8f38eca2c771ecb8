"""By which Python `bin/actr` runs in a checkout. Read by any version of it, so nothing new is used here."""

from __future__ import annotations

import os
import sys


def check_python(root: str, site: str) -> None:
    """Return if this one has its packages at `site`; else go on with that of .venv, once, or say so."""
    if os.path.isdir(site):  # noqa: PTH112  # as below, pathlib is more than what is needed
        return
    python = f"{root}/.venv/bin/python"
    if os.path.exists(python) and "again" not in sys._xoptions:  # noqa: PTH110, SLF001  # what -X says
        os.execv(python, [python, "-IS", "-X", "again", *sys.argv])  # noqa: S606  # no shell is wanted
    where = os.path.realpath(root)
    sys.exit(f"actr: {where}/.venv is missing: run sudo bin/quickstart (or sudo bin/setup) in {where}")
