"""Reproductions of papers: every claim checked, with the figures and the reason where it does not hold."""
