"""Messages on the wire: envelopes, codec, the router's switch, the pump and the clients.

The only package that imports ZeroMQ. docs/protocol.md says what travels; this code says how.
"""
