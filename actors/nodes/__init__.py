"""Other nodes: links to them, what is heard of them, and what passes between this daemon and theirs."""
