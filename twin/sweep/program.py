"""What of the program decides a cell's figures, as a hash: cells of an earlier program are computed anew."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import controller
from controller.mechanism import GROUP
from twin.exits import UsageError

_TWIN = Path(__file__).parents[1]
_OURS = tuple(
    _TWIN / name
    for name in (
        *("assets.py", "feed.py", "history.py", "realised.py", "shape.py", "span.py", "tariff.py"),
        *("sweep/daily.py", "sweep/ground.py", "sweep/oracle.py", "sweep/past.py", "sweep/policies.py"),
        *("sweep/prices.py", "sweep/setting.py", "sweep/work.py"),
    )
)


def common() -> str:
    """Hash of the controller and of what makes the scenes."""
    return _digest([*_python_in(Path(str(controller.__file__)).parent), *_OURS])


def of_mechanism(source: str) -> str:
    """Hash of the package that brings a mechanism (`module:Class` or an entry point's name), empty for our own.

    Raises UsageError where there is no such module.
    """
    points = {point.name: point.value for point in entry_points(group=GROUP)}
    value = source if ":" in source else points.get(source, "")
    module = value.partition(":")[0]
    if not module or module.partition(".")[0] == controller.__name__:
        return ""
    try:
        spec = find_spec(module)
    except ImportError as error:
        raise UsageError(f"no module {module!r}: {error}", where="--policies", mend="install it or mend it") from error
    if spec is None or spec.origin is None:
        raise UsageError(f"no module {module!r}", where="--policies", mend="install it, or start where it lies")
    return _digest(_python_in(Path(spec.origin).parent))


def _python_in(folder: Path) -> list[Path]:
    """Its .py files at every depth, but not those of an environment kept inside."""
    inside = (
        path for path in folder.rglob("*.py") if not any(part[0] == "." for part in path.relative_to(folder).parts)
    )
    return sorted(inside)


def _digest(paths: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()
