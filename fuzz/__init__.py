"""Fuzzing of everything that reads what strangers send; see bin/fuzz --help."""
