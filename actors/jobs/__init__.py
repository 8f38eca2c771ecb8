"""What a job can be: a file for each kind of work, from a wish (what the client sent) to a result.

All run in a worker thread of a job's actor. Each can be begun again after a SIGKILL: blobs that are there
are kept, half-written ones are in ingests that expire, and names are put last, when all that they stand for
is durable.
"""
