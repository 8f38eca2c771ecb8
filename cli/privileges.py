"""Options that widen or narrow what a container may do, and that say how its processes live."""

from __future__ import annotations

from cli.options import Given, Option, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PRIVILEGES = (
    Option("--cap-add", "a capability to add, such as NET_ADMIN, or ALL", value="NAME", many=True),
    Option("--cap-drop", "a capability to drop, or ALL", value="NAME", many=True),
    Option("--privileged", "all capabilities and devices, no filter: as root on the host"),
    Option(
        "--security-opt",
        "no-new-privileges[=false], seccomp=FILE|unconfined",
        value="OPTION",
        many=True,
    ),
    Option(
        "--device",
        "let it use a device of the host, for example /dev/fuse:r (rwm)",
        value="PATH[:TARGET][:rwm]",
        many=True,
    ),
    Option(
        "--sysctl",
        "a setting of its own namespaces, for example net.core.somaxconn=1024",
        value="K=V",
        many=True,
    ),
    Option("--group-add", "a further group of its user, by name or id", value="GROUP", many=True),
    Option(
        "--userns",
        "user ids of its own: auto, host, or its first ones on the host and how many (host)",
        value="UID:GID:SIZE",
    ),
    Option("--pid", "host: see the host's processes (its own)", value="NAMESPACE", choices=("host",)),
    Option("--ipc", "host: share the host's memory segments (its own)", value="NAMESPACE", choices=("host",)),
    Option("--uts", "host: share the host's name (its own)", value="NAMESPACE", choices=("host",)),
    Option("--init", "put a small init before it, which reaps, and passes signals on"),
    Option("--annotation", "an annotation for the runtime", value="K=V", many=True),
    Option("--hooks", "programs to run at points of its life: JSON as the runtime-spec has it", value="FILE"),
)


def privileges(given: Given) -> dict[str, Any]:
    """What was given, as `options` of `containers.create` has it. Raises UsageError, OSError."""
    return {
        "cap_add": given.many("cap-add"),
        "cap_drop": given.many("cap-drop"),
        "privileged": given.flag("privileged"),
        "devices": [_device(text) for text in given.many("device")],
        "sysctls": given.pairs("sysctl"),
        "groups": given.many("group-add"),
        "userns": given.text("userns"),
        "pid": given.text("pid"),
        "ipc": given.text("ipc"),
        "uts": given.text("uts"),
        "init": given.flag("init"),
        "annotations": given.pairs("annotation"),
        "hooks": _document(given.text("hooks")) if given.flag("hooks") else {},
        **_security(given.many("security-opt")),
    }


def _security(words: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        key, _, value = word.replace(":", "=", 1).partition("=")
        if key == "no-new-privileges" and value in ("", "true", "false"):
            found["no_new_privileges"] = value != "false"
        elif key == "seccomp" and value:
            found["seccomp"] = value if value == "unconfined" else _document(value)
        else:
            raise UsageError(
                f"--security-opt {word}: there is no-new-privileges, seccomp=FILE, seccomp=unconfined"
            )
    return found


def _document(path: str) -> dict[str, Any]:
    import json

    with open(path, encoding="utf-8") as file:  # noqa: PTH123  # pathlib is 4 ms
        try:
            found = json.load(file)
        except ValueError as error:
            raise UsageError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} is not a JSON object")
    return found


def _device(text: str) -> dict[str, Any]:
    """`/dev/fuse`, `/dev/fuse:r`, `/dev/fuse:/dev/inside:rw`."""
    source, *rest = text.split(":")
    found = {"source": source}
    if rest and not rest[-1].startswith("/"):
        found["access"] = rest.pop()
    if rest:
        found["target"] = rest.pop()
    if rest or not source:
        raise UsageError(f"--device wants PATH[:TARGET][:rwm], not {text!r}")
    return found
