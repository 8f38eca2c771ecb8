"""What must come out of a container of the load: its output, its end, and what is on record of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from chaos.asking import RecordingSession, persist
from chaos.runs import Run, counted, kept_output, sha256
from cli.following import STDOUT, Output, follow_container

if TYPE_CHECKING:
    from chaos.scene import Scene

CODE: Final = "exit codes are right"
OUTPUT: Final = "output is complete and in order"
EXPECTED: Final = "operations end as they should"
KEYED: Final = "each key has at most one effect"
KEPT: Final = "what was answered is on record"
EXIT_LIMIT: Final = 20.0  # seconds of one question after an exit; it is asked again


class Expectations:
    """Asked for over one client's session; what is not so is a violation."""

    def __init__(self, session: RecordingSession, scene: Scene) -> None:
        self.session = session
        self.scene, self.findings = scene, scene.findings

    def followed(self, run: Run) -> dict[str, Any]:
        """Its output from beginning to end; returns how it ended."""
        printed = bytearray()
        output = Output(self.session, run.actor)

        def write(stream: int, _at: int, piece: bytes) -> None:
            if stream == STDOUT:
                printed.extend(piece)

        answer = persist(lambda: output.copy(write, follow=True))
        unwatched = self.findings.may_be_unknown(run.id)
        whose = f"{run.name} ({run.id[:12]})"
        self.output(whose, run.lines, bytes(printed), unwatched=unwatched)
        kept = kept_output(self.scene.root, run)
        try:
            known = kept.read_bytes()
        except FileNotFoundError:  # nobody else removes it
            self.findings.check(OUTPUT, holds=False, text=f"{whose}: its kept output has vanished")
            return answer
        text = f"{whose}: followed {len(printed)} bytes, kept are {len(known)}"
        self.findings.check(OUTPUT, known == printed, text)
        return answer

    def see_off(self, run: Run) -> None:
        """Follow one that removes itself to its end, wherever that is told; then it is gone for everybody."""
        printed = bytearray()
        output = Output(self.session, run.actor)

        def write(_stream: int, _at: int, piece: bytes) -> None:
            printed.extend(piece)

        answer = persist(lambda: follow_container(self.session, run.id, write, output))
        unwatched = self.findings.may_be_unknown(run.id)
        text = f"{run.name} ({run.id[:12]}): {answer} instead of {run.code}"
        found = answer.get("exit_code")
        self.findings.check(CODE, found == run.code or (found is None and unwatched), text)
        listed = persist(lambda: self.session.ask("metadata", "containers.list", {"namespace": "c"}))
        found = [one["name"] for one in listed["containers"]]
        self.findings.check(KEPT, run.name not in found, f"{run.name} has gone, and is listed")

    def output(self, whose: str, lines: int, printed: bytes, *, unwatched: bool) -> None:
        """Whether that is all of it. What is in a pipe that nobody holds any more may be missing."""
        expected = counted(lines or printed.count(b"\n"))
        right = sha256(printed) == sha256(expected)
        if not right and unwatched and expected.startswith(printed):
            self.findings.note("the end of an output was lost: it ended while nothing watched")
            right = True
        self.findings.check(OUTPUT, right, f"{whose} {_wrong(lines, printed)}")

    def exit(self, run: Run, answer: dict[str, Any]) -> None:
        """What its end is said to be, and what it is when asked again."""
        found = answer.get("exit_code")
        again = persist(lambda: self.session.ask(run.actor, "tasks.wait", {}, limit=EXIT_LIMIT)).get(
            "exit_code"
        )
        self.findings.check(CODE, found == again, f"{run.name}: {found}, then {again}")
        unknown = found is None and self.findings.may_be_unknown(run.id)
        if unknown:
            self.findings.note("an exit code is unknown: it ended while nothing watched")
        text = f"{run.name} ({run.id[:12]}): {found} instead of {run.code}"
        self.findings.check(CODE, found == run.code or unknown, text)
        run.ended_code = found

    def record(self, run: Run) -> None:
        """Metadata has it too."""
        wish = {"namespace": "c", "id": run.id}
        record = persist(lambda: self.session.ask("metadata", "containers.get", wish))
        task = record.get("task") or {}
        said = (task.get("status"), task.get("exit_code"))
        text = f"{run.name}: the record says {said}, its actor {run.ended_code}"
        right = said == ("stopped", run.ended_code)
        self.findings.check(KEPT, right, text)


def _wrong(wanted: int, printed: bytes) -> str:
    lines = printed.split(b"\n")
    off = next((n for n, line in enumerate(lines[:-1], 1) if line != b"%d" % n), len(lines))
    return f"printed {len(printed)} bytes, {len(lines) - 1} of {wanted} lines, wrong from {off}"
