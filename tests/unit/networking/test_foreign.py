"""Rules of others that would drop what is forwarded: found, with what to do."""

from actors.networking.foreign import blocking

DOCKER = """table ip nat {
	chain POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
	}
}
table ip filter {
	chain DOCKER-USER {
RULES		counter packets 0 bytes 0 return
	}

	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		counter packets 0 bytes 0 jump DOCKER-USER
	}
}
table inet actord_1 {
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
}
"""
RULE = '\t\t{} "b1" counter packets 0 bytes 0 accept\n'


def test_docker_drops_and_what_to_do_is_said():
    ((what, problem),) = blocking(DOCKER.replace("RULES", ""), "actord_1", ["b1"])
    assert what == "chain ip filter FORWARD"
    assert problem == (
        "its policy drops what is forwarded to and from networks; to let it pass: "
        "iptables -I DOCKER-USER -i b1 -j ACCEPT; iptables -I DOCKER-USER -o b1 -j ACCEPT"
    )


def test_both_directions_have_to_be_let_through():
    one = DOCKER.replace("RULES", RULE.format("iifname"))
    assert list(blocking(one, "actord_1", ["b1"]))
    both = DOCKER.replace("RULES", RULE.format("iifname") + RULE.format("oifname"))
    assert list(blocking(both, "actord_1", ["b1"])) == []
    assert len(list(blocking(both, "actord_1", ["b1", "b2"]))) == 1


def test_another_table_and_nobody_to_be_dropped():
    text = "table inet fw {\n\tchain c {\n\t\ttype filter hook forward priority 0; policy drop;\n\t}\n}\n"
    ((what, problem),) = blocking(text, "actord_1", ["b1"])
    assert what == "chain inet fw c"
    assert (
        "nft insert rule inet fw c iifname b1 accept; nft insert rule inet fw c oifname b1 accept" in problem
    )
    assert list(blocking(text, "actord_1", [])) == []
    assert list(blocking(text.replace("drop", "accept"), "actord_1", ["b1"])) == []


FIREWALLD = """table inet firewalld {
	chain filter_FORWARD_ZONES {
		iifname "b1" goto filter_FWD_trusted
		goto filter_FWD_public
	}
}
"""


def test_firewalld_lets_out_what_is_in_a_zone():
    assert list(blocking(FIREWALLD, "actord_1", ["b1"])) == []
    ((what, problem),) = blocking(FIREWALLD, "actord_1", ["b1", "b2"])
    assert what == "table inet firewalld"
    assert problem.endswith(
        "to let it pass: firewall-cmd --permanent --zone=trusted --add-interface=b2; firewall-cmd --reload"
    )
    assert list(blocking(FIREWALLD.replace("public", "trusted"), "actord_1", ["b2"])) == []
