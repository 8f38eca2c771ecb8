"""How fast peers of other hosts are heard: each connection, and all of one key."""

from transport.outer import BURST, CONNECTIONS, RATE, Pace

KEY, OTHER = "k" * 40, "o" * 40


def heard(pace, public, connections, now, each):
    """How many messages are, when each of so many new connections sends `each`."""
    addresses = [f"~~{public}{now}{number}" for number in range(connections)]
    return sum(not pace.refusal(address, public, now) for address in addresses for _ in range(each))


def test_one_connection_has_its_own_pace():
    pace = Pace()
    assert heard(pace, KEY, 1, 0.0, 2 * int(BURST)) == BURST
    assert "2000 messages a second" in pace.refusal(f"~~{KEY}0.00", KEY, 0.0)


def test_a_key_gets_no_more_by_further_connections():
    pace = Pace()
    assert heard(pace, KEY, 20, 0.0, int(BURST)) == CONNECTIONS * BURST
    assert "with one key" in pace.refusal("another", KEY, 0.0)
    assert heard(pace, KEY, 20, 1.0, int(BURST)) == CONNECTIONS * RATE
    assert not pace.refusal("a connection of somebody else", OTHER, 1.0)


def test_a_node_is_never_short_of_heartbeats():
    """It has two connections, and moves what it likes over one of them."""
    pace = Pace()
    assert heard(pace, KEY, 1, 0.0, 10 * int(BURST)) == BURST
    assert not pace.refusal("its heartbeats", KEY, 0.0)
