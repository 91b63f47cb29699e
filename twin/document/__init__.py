"""Checked YAML documents: nodes that know their line, checks of fields, all problems at once."""

from twin.document.problems import DocumentError, Problem

__all__ = ["DocumentError", "Problem"]
