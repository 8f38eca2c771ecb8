"""containerd's gRPC API: its messages and methods (interface), and a server that knows nothing of actors."""
