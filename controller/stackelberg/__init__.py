"""Shared parts of games in which a leader sets prices and followers answer with convex programs."""
