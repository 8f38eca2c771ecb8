"""What garbage collection decides, pure: which resources refer to which, and what can still be reached."""
