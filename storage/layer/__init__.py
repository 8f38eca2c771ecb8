"""Layers: reading their tars, applying them to a snapshot, and writing the difference back as a tar."""
