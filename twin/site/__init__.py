"""The site file: what a site is made of, read and checked as a whole."""

from twin.site.errors import SiteError
from twin.site.loader import load_site
from twin.site.schema import Site

__all__ = ["Site", "SiteError", "load_site"]
