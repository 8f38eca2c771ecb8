"""The only code that talks to the kernel past the standard library: ctypes, ioctl and /proc formats."""
