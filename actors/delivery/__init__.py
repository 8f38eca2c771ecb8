"""A container's kept output, brought to those who want it elsewhere: files of JSON, the journal, a program.

What is kept (actors/runtime/output.py) comes first, always; delivery reads it from where it had come to. So a
crash of whoever takes it, or of the container's actor, costs no line, and nobody who stalls holds the
container up: when the kept output reaches its limits, what is missing is said in its place.
"""
