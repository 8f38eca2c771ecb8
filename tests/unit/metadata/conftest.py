import itertools

import pytest

from storage.metadata import Metadata


@pytest.fixture
def metadata(tmp_path):
    """A store whose clock gives 1000, 1001, ..."""
    ticks = itertools.count(1000)
    opened = Metadata(tmp_path / "metadata.db", clock=lambda: next(ticks))
    yield opened
    assert opened.check() == ()
    opened.close()
