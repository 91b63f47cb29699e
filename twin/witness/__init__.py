"""A witness as a program of its own, and a demonstration with eight of them."""
