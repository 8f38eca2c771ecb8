"""The actors: one process, one mailbox and one file each, and what they are made of."""

__version__ = "0.1.0"
