"""Platforms: which of an index's images fits a machine.

Normalised forms follow Go's names (GOOS, GOARCH), as OCI image-spec ("Image Index", platform) asks.
"""

import functools
import os
import platform as python_platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from storage.errors import InvalidArgumentError
from storage.image.document import optional_strings, optional_text, require_object, require_text

_ARCHITECTURES: Final = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "armv6l": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv8l": ("arm", "v8"),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "loongarch64": ("loong64", ""),
}
_SYSTEMS: Final = {"macos": "darwin"}

# The variant that is meant when none is written.
_DEFAULT_VARIANTS: Final = {"386": "v0", "amd64": "v1", "arm64": "v8", "arm": "v7"}

# A machine of the key's architecture also runs images of these, after its own.
_ALSO_RUNS: Final = {"amd64": ("386",), "arm64": ("arm",)}

_COMPONENT: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_LEVEL: Final = re.compile(r"v?([0-9]{1,3})(?:\.([0-9]{1,3}))?")

# CPU flags, as /proc/cpuinfo calls them, that each level of amd64 adds to the one below (x86-64 psABI).
_AMD64_FLAGS: Final = (
    ("v2", {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
    ("v3", {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"}),
    ("v4", {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"}),
)


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and a processor. `variant` is empty when it is the architecture's default."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @classmethod
    def from_dict(cls, value: object) -> Self:
        """Read the `platform` of a descriptor as it stands; `normalise` is a separate step.

        Raises:
            InvalidArgumentError: A required field is missing or a field has the wrong type.
        """
        fields = require_object(value, "platform")
        return cls(
            os=require_text(fields, "os", "platform"),
            architecture=require_text(fields, "architecture", "platform"),
            variant=optional_text(fields, "variant", "platform"),
            os_version=optional_text(fields, "os.version", "platform"),
            os_features=optional_strings(fields, "os.features", "platform"),
        )

    def to_dict(self) -> dict[str, Any]:
        """The same, with OCI's key names and without what is empty."""
        fields: dict[str, Any] = {"architecture": self.architecture, "os": self.os}
        optional: dict[str, Any] = {
            "variant": self.variant,
            "os.version": self.os_version,
            "os.features": list(self.os_features),
        }
        return fields | {name: value for name, value in optional.items() if value}

    def normalise(self) -> "Platform":
        """The one spelling of this platform: `Linux/AARCH64/8` is `linux/arm64`, `linux/arm` has v7."""
        system = self.os.lower()
        architecture = self.architecture.lower()
        architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
        variant = self.variant.lower() or implied
        if variant[:1].isdigit():
            variant = f"v{variant}"
        default = _DEFAULT_VARIANTS.get(architecture, "")
        if architecture == "arm":
            variant = variant or default  # people do write arm/v7, so that is its one spelling
        elif variant == default:
            variant = ""
        return Platform(
            _SYSTEMS.get(system, system), architecture, variant, self.os_version, self.os_features
        )


def parse_platform(text: str) -> Platform:
    """Read `os/architecture[/variant]`, or `architecture` alone for linux, and normalise it.

    Raises:
        InvalidArgumentError: There are too many parts, or one is empty or has other characters than names.
    """
    parts = text.split("/", 3)
    if len(parts) > 3 or not all(_COMPONENT.fullmatch(part) for part in parts):
        raise InvalidArgumentError(f"platform {text[:80]!r} is malformed: expected os/architecture[/variant]")
    system, architecture, *variant = parts if len(parts) > 1 else ["linux", *parts]
    return Platform(system, architecture, "".join(variant)).normalise()


@functools.cache
def host_platform() -> Platform:
    """The platform of this machine, with the level of its processor. It does not change while we run."""
    machine = python_platform.machine()
    platform = Platform(os.uname().sysname, machine).normalise()
    if platform.architecture != "amd64":
        return platform
    return Platform(platform.os, "amd64", amd64_level(Path("/proc/cpuinfo").read_text("utf-8", "replace")))


def amd64_level(cpuinfo: str) -> str:
    """The level (`v2` to `v4`; empty for v1) that the first processor in /proc/cpuinfo's text reaches."""
    match = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    flags = set(match[1].split()) if match else set()
    reached = ""
    for level, needed in _AMD64_FLAGS:
        if not needed <= flags:
            break
        reached = level
    return reached


def preference(wanted: Platform, offered: Platform) -> tuple[int, int, int] | None:
    """How well `offered` suits a machine that is `wanted`: smaller is better, None does not run at all.

    The highest variant not above the wanted one is best, then what the processor runs besides its own
    kind (arm on arm64, 386 on amd64).
    """
    wanted, offered = wanted.normalise(), offered.normalise()
    if wanted.os != offered.os:
        return None
    kinds = (wanted.architecture, *_ALSO_RUNS.get(wanted.architecture, ()))
    if offered.architecture not in kinds:
        return None
    kind = kinds.index(offered.architecture)
    if wanted.variant == offered.variant and not kind:
        return (0, -1000, 0)
    mine, theirs = _level(wanted), _level(offered)
    if theirs is None or mine is None or (theirs > mine and not kind):
        return None
    return (kind, -theirs[0], -theirs[1])


def _level(platform: Platform) -> tuple[int, int] | None:
    match = _LEVEL.fullmatch(platform.variant or _DEFAULT_VARIANTS.get(platform.architecture, ""))
    return (int(match[1]), int(match[2] or 0)) if match else None
