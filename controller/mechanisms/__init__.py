"""Market mechanisms; each is found by the entry point group `vpptwin.mechanisms`."""
