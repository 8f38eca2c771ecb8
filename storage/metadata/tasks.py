"""Tasks: the last state of each container's process that its actor reported.

Reports may be repeated and may arrive late (the actor sends again after any crash). `record` is therefore
idempotent, and an older revision never replaces a newer one.
"""

import dataclasses
from typing import Any

from storage.database import Database
from storage.errors import InvalidArgumentError, NotFoundError
from storage.metadata.records import Task
from storage.names import storable

_OOM = 9  # its column
_STATUSES = frozenset({"created", "running", "paused", "stopped", "unknown"})
_UPSERT = """INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (namespace, container) DO UPDATE SET revision = excluded.revision,
    status = excluded.status, pid = excluded.pid, started_at = excluded.started_at,
    exited_at = excluded.exited_at, exit_code = excluded.exit_code, exit_reason = excluded.exit_reason,
    oom = excluded.oom, error = excluded.error,
    health = excluded.health, restarts = excluded.restarts WHERE excluded.revision >= tasks.revision"""


class Tasks:
    """The tasks table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, task: Task) -> bool:
        """Store a report; False when it was older than what is stored and so changed nothing.

        Raises:
            NotFoundError: its container does not exist (any more).
            InvalidArgumentError: the status is none of the five.
        """
        if task.status not in _STATUSES:
            raise InvalidArgumentError(f'task status "{task.status}" is not valid')
        clean = dataclasses.replace(task, exit_reason=storable(task.exit_reason), error=storable(task.error))
        with self._database.transaction():
            self._require_container(task)
            changed = self._database.execute(_UPSERT, dataclasses.astuple(clean)).rowcount
        return changed > 0

    def get(self, namespace: str, container: str) -> Task:
        """The task of a container, by the container's full id.

        Raises:
            NotFoundError: none was ever recorded, or it was deleted.
        """
        row = self._database.one(
            "SELECT * FROM tasks WHERE namespace = ? AND container = ?", (namespace, container)
        )
        if row is None:
            raise NotFoundError(f'task of container "{container}" not found in namespace "{namespace}"')
        return task_from_row(row)

    def delete(self, namespace: str, container: str) -> Task:
        """Forget the task; the container stays. Returns what it was."""
        with self._database.transaction():
            task = self.get(namespace, container)
            self._database.execute(
                "DELETE FROM tasks WHERE namespace = ? AND container = ?", (namespace, container)
            )
        return task

    def _require_container(self, task: Task) -> None:
        found = self._database.one(
            "SELECT 1 FROM containers WHERE namespace = ? AND id = ?", (task.namespace, task.container)
        )
        if found is None:
            raise NotFoundError(
                f'container "{task.container}" not found in namespace "{task.namespace}": no task recorded'
            )


def task_from_row(row: tuple[Any, ...]) -> Task:
    """A task from its columns in the order of the table."""
    values = list(row)
    values[_OOM] = bool(row[_OOM])
    return Task(*values)
