"""The seccomp filters that crun has had compiled, kept so that each is compiled once.

libseccomp takes 3 of the 12 ms of a start with crun for it (measured, crun 1.8.1 with our default profile).
crun leaves the outcome in its directory of the container, and takes such bytes from an annotation in place of
a profile (crun(1), `run.oci.seccomp_bpf_data`). So what it made of a profile is given to it with the next
container of the same profile. runc knows nothing like it.

The files are below the daemon's state, which a reboot empties. Their names are made of the profile and of the
program, so another crun makes its own.
"""

import base64
import contextlib
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

ANNOTATION = "run.oci.seccomp_bpf_data"
MADE = "seccomp.bpf"  # in crun's directory of a container
_INSTRUCTION, _MOST_INSTRUCTIONS = 8, 4096  # bytes of one; how many the kernel takes (bpf(2))
_MOST_KEPT = 64  # profiles that callers bring may be many: later ones are compiled each time
_CONCERNED = "run.oci.seccomp"  # annotations that change what becomes of a profile begin so
_IN_THE_BYTES = frozenset(["defaultAction", "defaultErrnoRet", "architectures", "syscalls"])
_UNFINISHED = ".of-"


def is_to_make(spec: Mapping[str, Any]) -> bool:
    """Whether there is a profile that is fit to be kept, and nothing that says what to take in its place.

    What crun makes of other keys, flags above all, is not in the bytes.
    """
    profile = (spec.get("linux") or {}).get("seccomp")
    said = any(name.startswith(_CONCERNED) for name in spec.get("annotations") or ())
    return isinstance(profile, Mapping) and profile.keys() <= _IN_THE_BYTES and not said


def with_known(spec: Mapping[str, Any], kept: Path, program: str) -> Mapping[str, Any]:
    """The specification, with the filter that `program` made of its profile, if it has made one."""
    if not is_to_make(spec):
        return spec
    try:
        made = (kept / _name(spec, program)).read_bytes()
    except OSError:
        return spec
    if not _is_program(made):
        return spec
    data = base64.b64encode(made).decode()
    return {**spec, "annotations": {**(spec.get("annotations") or {}), ANNOTATION: data}}


def keep(spec: Mapping[str, Any], kept: Path, program: str, made: Path) -> None:
    """Keep what `program` has just made of this specification's profile, in the file `made`.

    Whatever stands in the way, the container has started: the next one has its own made.
    """
    with contextlib.suppress(OSError):
        data, place = made.read_bytes(), kept / _name(spec, program)
        kept.mkdir(mode=0o700, exist_ok=True)
        if _is_program(data) and sum(1 for _ in kept.iterdir()) < _MOST_KEPT:
            # Others may keep the same at this moment.
            temporary = kept / f"{place.name}{_UNFINISHED}{made.parent.name}"
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # where the state is on a disk, a power cut must not leave less
            temporary.rename(place)


def clear_unfinished(kept: Path) -> None:
    """Remove what a process left that was killed while it kept something."""
    for left in kept.glob(f"*{_UNFINISHED}*"):
        left.unlink(missing_ok=True)


def _is_program(data: bytes) -> bool:
    return bool(data) and len(data) % _INSTRUCTION == 0 and len(data) <= _INSTRUCTION * _MOST_INSTRUCTIONS


def _name(spec: Mapping[str, Any], program: str) -> str:
    """Of the file for this profile and program. Raises FileNotFoundError: there is no such program."""
    file = Path(shutil.which(program) or program).stat()
    version = [program, file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns]
    return hashlib.sha256(msgspec.json.encode([version, spec["linux"]["seccomp"]])).hexdigest()
