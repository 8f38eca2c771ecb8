"""actr, the command line: an ordinary client of the protocol. One verb a file; main.py finds the verb.

People and scripts wait for every start of it, so a command imports only what it uses, and the parser is
a hundred lines here instead of argparse (3 ms to import, up to 8 ms to build and run).
"""
