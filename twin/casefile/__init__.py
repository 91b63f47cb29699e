"""Case files: one planning problem in YAML, checked as a whole, for `vpptwin solve`."""

from twin.casefile.loader import CaseFile, CaseFileError, load_case

__all__ = ["CaseFile", "CaseFileError", "load_case"]
