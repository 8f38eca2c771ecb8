"""Decisions about networks: which subnet, which port, which rules. Pure; the kernel is in actors/linux."""
