"""A device's measured profile: a YAML file that `vpptwin characterise` writes and an emulated device can be given.

behaviour: {profile: bat-1.profile.yaml} in the site file makes the emulator answer as the measured device did.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from devices.errors import DeviceError


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file as a whole."""

    schema: Literal[1]
    device: str
    kind: str
    measured: str
    """When, ISO 8601 UTC."""
    behaviour: dict[str, float]
    """What the emulator takes: keys of devices/emulator/behaviour.py."""
    figures: dict[str, float]
    """What was measured, for people; names carry their units."""
    steps: list[dict[str, float]] = msgspec.field(default_factory=list)


def read(path: Path | str) -> Profile:
    """Raises DeviceError for a file that is no profile."""
    try:
        return msgspec.convert(yaml.safe_load(Path(path).read_text(encoding="utf-8")), Profile)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise DeviceError(
            f"no device profile: {error}", where=str(path), mend="`vpptwin characterise` writes such files"
        ) from error


def write(path: Path, profile: Profile) -> None:
    """Write it, replacing an earlier one."""
    plain: Mapping[str, Any] = msgspec.to_builtins(profile)
    head = (
        "# Written by `vpptwin characterise`. `behaviour: {profile: FILE}` makes an emulated device answer like this.\n"
    )
    path.write_text(head + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")
