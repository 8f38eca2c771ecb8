"""A switch that some actors have announced themselves to."""

import pytest
from switched import hello

from transport.switch import Switch


@pytest.fixture
def switch():
    """A switch that knows images/4 and supervisor/1."""
    made = Switch(0.0, {"node": "here"})
    hello(made, "images/4")
    hello(made, "supervisor/1")
    return made
