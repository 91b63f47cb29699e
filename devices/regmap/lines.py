"""YAML with the line of every key, so that a fault can say where it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from devices.regmap.errors import MapFaults


class Lines:
    """Lines of keys (by path) and the faults found so far."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.of: dict[tuple[str, ...], int] = {}
        self.faults: list[tuple[int, str]] = []

    def fault(self, path: Sequence[str], what: str) -> None:
        """Note a fault at the nearest key of `path` that the file has."""
        keys = tuple(path)
        while keys and keys not in self.of:
            keys = keys[:-1]
        line = self.of.get(keys, 1)
        self.faults.append((line, f"{self.source}:{line} {'.'.join(path) or 'file'}: {what}"))

    def give_up(self) -> None:
        """Raises MapFaults if there are any."""
        if self.faults:
            raise MapFaults([text for _, text in sorted(self.faults)])


def read_lines(text: str, lines: Lines) -> Any:
    """The document as plain values, its key lines noted in `lines`. Raises yaml.MarkedYAMLError."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return None if node is None else _plain(node, (), lines, yaml.SafeLoader(""))


def _plain(node: yaml.Node, path: tuple[str, ...], lines: Lines, loader: yaml.SafeLoader) -> Any:
    lines.of.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, str(k)), lines, loader) for k, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node, deep=True)
    out: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(loader.construct_object(key_node, deep=True))
        here = (*path, key)
        lines.of[here] = key_node.start_mark.line + 1
        if key in out:
            lines.fault(here, "given twice")
        out[key] = _plain(value_node, here, lines, loader)
    return out
