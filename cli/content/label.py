"""actr content label: labels of one blob."""

from __future__ import annotations

from cli.options import Command, Given, UsageError
from cli.table import print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Set those that are given, take away those without a value, and print what is left."""
    labels = {}
    for text in given.arguments[1:]:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"a label is KEY=VALUE, or KEY= to take it away, not {text!r}")
        labels[key] = value
    wish = {
        "namespace": session.namespace,
        "digest": given.arguments[0],
        "labels": labels,
        "fields": [f"labels.{key}" for key in labels],
    }
    print_json(session.ask("content", "content.update", wish)["labels"])
    return 0


COMMAND = Command(
    "content label", "Set and take away labels of a blob", run, arguments=("DIGEST", "KEY=VALUE...")
)
