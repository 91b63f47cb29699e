"""The error of a site file."""

from __future__ import annotations

from twin.document import DocumentError


class SiteError(DocumentError):
    """All problems of one site file, one line each: `homes.yaml:41 devices[7].unit: what; mend`."""
