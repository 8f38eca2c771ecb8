"""What the network actor is made of: which subnet, port and rules (pure), and how they are brought about."""
