"""A program in memory that nobody can change."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from actors.linux import process, sealed, spawn

PROGRAM = shutil.which("true")


def test_it_is_the_program_and_nobody_can_change_it():
    with sealed.copied(PROGRAM) as copy:
        assert os.pread(copy, 1 << 26, 0) == Path(PROGRAM).read_bytes()
        for change in (lambda: os.pwrite(copy, b"#", 0), lambda: os.ftruncate(copy, 0)):
            with pytest.raises(PermissionError):
                change()
        with pytest.raises(PermissionError):
            fcntl.fcntl(copy, fcntl.F_ADD_SEALS, 0)
        assert not os.get_inheritable(copy)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(copy)


def test_it_is_executed_from_there():
    with sealed.copied(shutil.which("readlink")) as copy:
        reader, writer = os.pipe()
        pid = spawn.spawn(["readlink", "/proc/self/exe"], stdout=writer, program=copy)
        os.close(writer)
        with os.fdopen(reader) as file:
            assert file.read().startswith("/memfd:readlink")
        assert process.exit_code(os.waitpid(pid, 0)[1]) == 0


def test_its_number_may_be_one_that_the_program_has_for_something_else():
    with sealed.copied(PROGRAM) as copy:
        pid = spawn.spawn(["true"], inherit={copy: 0}, program=copy)
        assert process.exit_code(os.waitpid(pid, 0)[1]) == 0


def test_where_memory_may_not_be_executed_the_file_is():
    with sealed.copied(PROGRAM) as copy:
        os.fchmod(copy, 0o600)  # as the kernel makes it with vm.memfd_noexec
        pid = spawn.spawn(["true"], program=copy)
        assert process.exit_code(os.waitpid(pid, 0)[1]) == 0


def test_a_script_is_not_copied_nor_what_is_not_there(tmp_path):
    script = tmp_path / "crun"
    script.write_text("#!/bin/sh\n")
    for path in (script, tmp_path / "missing", tmp_path):
        with sealed.copied(str(path)) as copy:
            assert copy is None


def test_descriptors_do_not_grow_where_a_copy_fails(monkeypatch):
    def refused(*_args):
        raise PermissionError

    monkeypatch.setattr(fcntl, "fcntl", refused)
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    with sealed.copied(PROGRAM) as copy:
        assert copy is None
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before
