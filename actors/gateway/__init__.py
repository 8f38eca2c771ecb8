"""containerd's services, each a thin translation: one operation of an actor for one method."""
