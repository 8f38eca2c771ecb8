"""The seccomp profile that every container gets unless its caller says otherwise.

seccomp.json is data: `allowed` system calls are those of ordinary programs; `allowed_with_capability` and
`allowed_from_kernel` those that are safe only with a capability, or since a release (ptrace could be used to
step around the filter before 4.8); `refused` ones fail with EPERM whoever asks. A call that no list names
fails with ENOSYS, so that a C library newer than the profile falls back to an older call by itself.
`elsewhere` are those that other machines have and the named one never will: a runtime takes time over each.
Four calls depend on their arguments; their rules stand here, because they need reasons.
"""

import errno
import json
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from actors.runtime.errors import InvalidSpecError

_PROFILE = Path(__file__).with_name("seccomp.json")

_NAMESPACE_FLAGS = {
    "CLONE_NEWNS": 0x00020000,
    "CLONE_NEWCGROUP": 0x02000000,
    "CLONE_NEWUTS": 0x04000000,
    "CLONE_NEWIPC": 0x08000000,
    "CLONE_NEWUSER": 0x10000000,
    "CLONE_NEWPID": 0x20000000,
    "CLONE_NEWNET": 0x40000000,
}
_CLONE_NEWTIME = 0x00000080  # unshare only: in clone these bits are the number of the exit signal

# The few families around and above them need hardware or privileges.
_AF_ALG = 38
_AF_VSOCK = 40
# Every bit that changes more than what uname and mmap say: all but UNAME26 and PER_LINUX32.
_PERSONALITY_BITS = 0xFFFFFFFF & ~(0x0020000 | 0x0008)
_PERSONALITY_QUERY = 0xFFFFFFFF

Rule = dict[str, Any]


@cache
def _profile() -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = json.loads(_PROFILE.read_bytes())
    return loaded


def build(machine: str, capabilities: Collection[str], kernel: tuple[int, int]) -> dict[str, Any]:
    """The `linux.seccomp` object for a machine (`uname -m`), a bounding set and a kernel's release.

    Raises:
        InvalidSpecError: the profile has no list for this machine; a filter for another one would be a hole.
    """
    profile = _profile()
    architectures = profile["architectures"].get(machine)
    if architectures is None:
        raise InvalidSpecError(
            f"no seccomp profile for machine {machine!r}: run it without one, or bring your own"
        )
    allowed = _allowed(profile, capabilities, kernel)
    elsewhere = set(profile["elsewhere"].get(machine, ()))
    everything = {name for names in profile["allowed_with_capability"].values() for name in names}
    by_arguments = {"clone", "clone3", "unshare"}
    refused = sorted((everything | set(profile["refused"])) - allowed - by_arguments - elsewhere)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "architectures": list(architectures),
        "syscalls": [
            *_socket(),
            _allow(sorted(allowed - elsewhere)),
            _refuse(refused, errno.EPERM),
            *_personality(),
            *([] if "unshare" in allowed else _namespaces()),
        ],
    }


def _allowed(profile: Mapping[str, Any], capabilities: Collection[str], kernel: tuple[int, int]) -> set[str]:
    allowed = set(profile["allowed"])
    for capability, names in profile["allowed_with_capability"].items():
        if capability in capabilities:
            allowed.update(names)
    for release, names in profile["allowed_from_kernel"].items():
        major, minor = release.split(".")
        if kernel >= (int(major), int(minor)):
            allowed.update(names)
    return allowed


def _allow(names: Sequence[str], *conditions: Rule) -> Rule:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", "args": list(conditions)}


def _refuse(names: Sequence[str], number: int, *conditions: Rule) -> Rule:
    return {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": number, "args": list(conditions)}


def _argument(operator: str, value: int, second: int = 0) -> Rule:
    return {"index": 0, "value": value, "valueTwo": second, "op": f"SCMP_CMP_{operator}"}


def _socket() -> list[Rule]:
    """All families below AF_ALG.

    Compared as 64 bits: a number with something in its upper half, of which the kernel would look only at
    the lower one, is above too. 32-bit x86 can also call through `socketcall`, which hides the family in
    memory; libseccomp would quietly let every family through there, so it is refused as a whole. That costs
    old 32-bit programs their network. It must come first: libseccomp then drops what it adds for it later.
    """
    known = (_argument("EQ", family) for family in (_AF_ALG, _AF_VSOCK))
    return [
        _refuse(["socketcall"], errno.EPERM),
        _allow(["socket"], _argument("LT", _AF_ALG)),
        *(_refuse(["socket"], errno.EAFNOSUPPORT, condition) for condition in known),
    ]


def _personality() -> list[Rule]:
    return [
        _allow(["personality"], _argument("MASKED_EQ", _PERSONALITY_BITS)),
        _allow(["personality"], _argument("EQ", _PERSONALITY_QUERY)),
    ]


def _namespaces() -> list[Rule]:
    """No new namespace through clone and unshare.

    clone3 passes its flags in memory, where a filter cannot look; being in no list it fails with ENOSYS, and
    C libraries then use clone. One rule per flag refuses with EPERM what would otherwise be ENOSYS too.
    """
    clone = sum(_NAMESPACE_FLAGS.values())
    rules = [
        _allow(["clone"], _argument("MASKED_EQ", clone)),
        _allow(["unshare"], _argument("MASKED_EQ", clone | _CLONE_NEWTIME)),
        _refuse(["unshare"], errno.EPERM, _argument("MASKED_EQ", _CLONE_NEWTIME, _CLONE_NEWTIME)),
    ]
    each = (_argument("MASKED_EQ", flag, flag) for flag in _NAMESPACE_FLAGS.values())
    return [*rules, *(_refuse(["clone", "unshare"], errno.EPERM, condition) for condition in each)]
