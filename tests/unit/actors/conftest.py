"""What several modules of this directory have in common."""

import pytest
from puppets import Stage


@pytest.fixture
def stage(tmp):
    with Stage(tmp) as one:
        yield one
