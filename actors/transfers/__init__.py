"""The work of a transfer, in worker threads of its actor: fetch, unpack, push, ask.

Every step can be repeated: blobs that are there are not fetched, an ingest goes on at its offset, a layer
that is unpacked is not unpacked again, what a registry has is not sent again. So a crash needs no journal.
"""
