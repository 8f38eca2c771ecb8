"""Talking to image registries over HTTP: resolve, fetch, list, push.

Plain values go in and out (digests as text, bodies as bytes, documents as dicts), so that it depends on
neither the stores nor the actors. What is read here comes from strangers: every size and count is bounded.
"""
