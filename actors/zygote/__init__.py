"""The zygote: forks every actor from one warm image, reaps, and keeps what must outlive an actor.

Standard library only, one thread, no ZeroMQ socket, no database. It decides nothing about restarts: that
is the supervisor's work, one more child, and the only one that the zygote itself starts again.
"""
