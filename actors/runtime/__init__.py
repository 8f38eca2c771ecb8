"""What an OCI runtime is told and what it answers: specifications, users, seccomp, command lines, errors."""
