"""A fork: one more process, with a control channel to it."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from actors.linux.footprint import Range
from actors.settings import Settings
from actors.zygote.birth import Birth, Program, begin
from actors.zygote.control import pair
from actors.zygote.keeper import KEEPER, keep
from actors.zygote.spares import Spare

SURVIVOR: Final = "container"  # the kind of those that outlive us, of which some are forked in advance
_NOBODY: Final = {"name": "", "inc": 0}  # told who it is later


class Forking:
    """Of all kinds of children. Each method raises OSError when there cannot be another process."""

    def __init__(self, settings: Settings, programs: Mapping[str, Program], instance: str) -> None:
        """`programs` by kind, for one run of the daemon."""
        self._settings = settings
        self._programs = {**programs, KEEPER: keep}
        self._instance = instance

    def child(
        self, kind: str, who: Mapping[str, Any], pages: Sequence[Range] = (), *, survives: bool = False
    ) -> Spare:
        """A new child; one that survives us is told by `go` who it is."""
        program = self._programs[kind]  # in the child, an unknown kind would be found out too late
        ours, theirs = pair()
        birth = Birth(
            kind=kind,
            settings=self._settings,
            control=theirs,
            instance=self._instance,
            survives=survives,
            **who,
        )
        zygote = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            begin(birth, program, zygote, pages)
        theirs.close()
        return Spare(pid, ours)

    def keeper(self) -> Spare:
        """The process of the keeper."""
        return self.child(KEEPER, _NOBODY, survives=True)

    def spare(self, pages: Sequence[Range]) -> Spare:
        """One for whoever is started next; it writes to these pages first."""
        return self.child(SURVIVOR, _NOBODY, pages, survives=True)
