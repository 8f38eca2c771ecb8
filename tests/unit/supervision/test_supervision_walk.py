"""Random lives of random trees: the rules hold after every one of a quarter of a million decisions."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from random_walk import Walk
from simulated_world import worker, world

from actors.supervision import InvariantError, validate_state

LIVES_IN_EACH = 225
STEPS_OF_A_LIFE = 400


@pytest.mark.parametrize("first", range(0, LIVES_IN_EACH * 5, LIVES_IN_EACH))
def test_random_lives_keep_every_invariant(first):
    decisions = sum(Walk(seed).run(STEPS_OF_A_LIFE) for seed in range(first, first + LIVES_IN_EACH))
    assert decisions >= 45_000


def test_the_same_seed_gives_the_same_effects():
    first, second = Walk(7), Walk(7)
    first.run(STEPS_OF_A_LIFE)
    second.run(STEPS_OF_A_LIFE)
    assert first.world.log == second.world.log
    assert first.world.log


class Life(RuleBasedStateMachine):
    """The same world in the hands of hypothesis, which shrinks what it finds."""

    def __init__(self):
        super().__init__()
        self.walk = Walk(0)

    def alive(self):
        return self.walk.world.exit is None

    @rule(seed=st.integers(0, 1000))
    def another_tree(self, seed):
        self.walk.finish()
        self.walk = Walk(seed)

    @precondition(alive)
    @rule(count=st.integers(1, 20))
    def something_happens(self, count):
        for _ in range(count):
            if self.alive():
                self.walk.step()

    @precondition(alive)
    @rule()
    def somebody_calls(self):
        self.walk.call()

    @precondition(alive)
    @rule()
    def all_is_well(self):
        self.walk.heal()

    def teardown(self):
        self.walk.finish()


Life.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLife = Life.TestCase


def test_the_checker_finds_a_broken_state():
    small = world(worker("a")).boot()
    small.tree.nodes["a"].pid = None
    with pytest.raises(InvariantError, match="runs without a pid"):
        validate_state(small.tree)


def test_the_checker_finds_a_leaked_timer():
    small = world(worker("a")).boot()
    small.crash("a")
    small.crash("a")
    small.tree.timers["restart:nobody:1"] = next(iter(small.tree.timers.values()))
    with pytest.raises(InvariantError, match="leaked or lost"):
        validate_state(small.tree)
