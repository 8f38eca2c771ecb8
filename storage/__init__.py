"""What is kept: content, images, snapshots, metadata and the event journal.

The only package that imports SQLite. Nothing here knows of actors or messages; each module can be used
alone, and says on its interface what is durable and visible when.
"""
