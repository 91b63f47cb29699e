"""Whom to trust: logs, witnesses and the quorum of them that must have cosigned a head (C2SP tlog-policy).

A policy file has lines `log <vkey> [<url>]`, `witness <name> <vkey> [<url>]`, `group <name> <all|any|k> <names>` and
one `quorum <name>`; names are defined before they are used, and each is a member of one group at most.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ledger.errors import NoteError, PolicyError
from ledger.note import COSIGNATURE, ED25519, Checkpoint, Note, Verifier

FILE = "policy"
NONE = "none"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Place:
    """A key and where its holder answers ("" if that is not said)."""

    verifier: Verifier
    url: str = ""


@dataclass(slots=True)
class Policy:
    """Logs, witnesses and groups by name, and the name of the witness or group that makes the quorum."""

    logs: list[Place] = field(default_factory=list)
    witnesses: dict[str, Place] = field(default_factory=dict)
    groups: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    """Name -> (how many members must have cosigned, members)."""
    quorum: str = ""

    @classmethod
    def of(cls, logs: Sequence[Place], witnesses: Mapping[str, Place], threshold: int) -> Policy:
        """One group of all witnesses, of which `threshold` must have cosigned; none if it is 0."""
        groups = {"witnesses": (threshold, tuple(witnesses))} if threshold else {}
        return cls.parse(Policy(list(logs), dict(witnesses), groups, "witnesses" if threshold else NONE).text)

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Raises PolicyError naming the line that does not follow the format."""
        policy = cls()
        if bad := _CONTROL.search(text):
            raise PolicyError(f"control character {bad[0]!r}", where="policy", mend="only tabs and newlines")
        for number, line in enumerate(text.split("\n"), 1):
            words = [word for word in re.split(r"[ \t]+", line) if word]
            if not words or words[0].startswith("#"):
                continue
            read = _LINES.get(words[0])
            try:
                if read is None:
                    raise PolicyError(f"no line begins with {words[0]!r}", mend=f"lines: {', '.join(_LINES)}")
                read(policy, words[1:])
            except (PolicyError, NoteError) as error:
                raise PolicyError(error.what, where=f"policy:{number}", mend=error.mend) from error
        if not policy.quorum:
            raise PolicyError("no quorum line", where="policy", mend="`quorum none` asks for no cosignatures")
        return policy

    @classmethod
    def load(cls, path: Path) -> Policy:
        """Read a policy file. Raises PolicyError if it cannot be read."""
        try:
            return cls.parse(path.read_bytes().decode("utf-8", "surrogateescape"))
        except OSError as error:
            raise PolicyError(f"cannot be read: {error.strerror}", where=str(path), mend="name a policy") from error

    @property
    def text(self) -> str:
        """The policy as a file."""
        lines = [" ".join(("log", place.verifier.vkey, place.url)).rstrip() for place in self.logs]
        for name, place in self.witnesses.items():
            lines.append(" ".join(("witness", name, place.verifier.vkey, place.url)).rstrip())
        lines += [f"group {name} {needed} {' '.join(members)}" for name, (needed, members) in self.groups.items()]
        return "\n".join([*lines, f"quorum {self.quorum}", ""])

    @property
    def origins(self) -> set[str]:
        """Names of the logs."""
        return {place.verifier.name for place in self.logs}

    def satisfied(self, cosigned: Collection[str], name: str = "") -> bool:
        """Do these witnesses make the quorum (or the group `name`)?"""
        name = name or self.quorum
        if name == NONE:
            return True
        if name in self.witnesses:
            return name in cosigned
        needed, members = self.groups[name]
        return sum(self.satisfied(cosigned, member) for member in members) >= needed

    def cosigned(self, signed: str) -> set[str]:
        """Names of the witnesses that cosigned a note. Raises NoteError if a cosignature of theirs is forged."""
        found = set(Note.parse(signed).verify(place.verifier for place in self.witnesses.values()))
        return {name for name, place in self.witnesses.items() if place.verifier in found}

    def accept(self, signed: str) -> Checkpoint:
        """The head of a note that one of the logs signed and the quorum cosigned. Raises NoteError otherwise."""
        note = Note.parse(signed)
        head = Checkpoint.parse(note.text)
        trusted = [place.verifier for place in self.logs if place.verifier.name == head.origin]
        if not note.verify(trusted):
            raise NoteError(f"not signed by a trusted key of {head.origin}", where="policy", mend="see its log lines")
        cosigned = self.cosigned(signed)
        if not self.satisfied(cosigned):
            names = ", ".join(sorted(cosigned)) or "none"
            raise NoteError(f"too few cosignatures ({names}) for quorum {self.quorum}", where=head.origin)
        return head

    def _free(self, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise PolicyError(f"name {name!r} is taken", mend="witnesses and groups share their names")

    def _known(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise PolicyError(f"{name!r} is not defined above", mend="define witnesses and groups before their use")


def _key(vkey: str, kind: int, others: Collection[Place]) -> Verifier:
    verifier = Verifier.parse(vkey)
    if verifier.kind != kind:
        raise PolicyError(f"key of type {verifier.kind}, not {kind}", mend="logs sign with type 1, witnesses with 4")
    if any(place.verifier.public == verifier.public for place in others):
        raise PolicyError(f"the key of {verifier.name} is listed twice")
    return verifier


def _log(policy: Policy, words: Sequence[str]) -> None:
    if len(words) not in (1, 2):
        raise PolicyError("not a log line", mend="log <vkey> [<url>]")
    policy.logs.append(Place(_key(words[0], ED25519, policy.logs), *words[1:]))


def _witness(policy: Policy, words: Sequence[str]) -> None:
    if len(words) not in (2, 3):
        raise PolicyError("not a witness line", mend="witness <name> <vkey> [<url>]")
    policy._free(words[0])
    policy.witnesses[words[0]] = Place(_key(words[1], COSIGNATURE, policy.witnesses.values()), *words[2:])


def _group(policy: Policy, words: Sequence[str]) -> None:
    if len(words) < 3:
        raise PolicyError("not a group line", mend="group <name> <all|any|k> <name>...")
    name, rule, *members = words
    policy._free(name)
    for member in members:
        policy._known(member)
        if members.count(member) > 1 or any(member in others for _, others in policy.groups.values()):
            raise PolicyError(f"{member!r} is a member twice", mend="so each witness counts once")
    if rule not in ("all", "any") and not re.fullmatch(r"[1-9][0-9]{0,3}", rule):
        raise PolicyError(f"threshold {rule!r}", mend="all, any or a number from 1")
    needed = {"all": len(members), "any": 1}.get(rule) or int(rule)
    if needed > len(members):
        raise PolicyError(f"{needed} of {len(members)} members can never be reached")
    policy.groups[name] = (needed, tuple(members))


def _quorum(policy: Policy, words: Sequence[str]) -> None:
    if len(words) != 1 or policy.quorum:
        raise PolicyError("not one quorum", mend="one line `quorum <name>`")
    if words[0] != NONE:
        policy._known(words[0])
    policy.quorum = words[0]


_LINES: dict[str, Callable[[Policy, Sequence[str]], None]] = {
    "log": _log,
    "witness": _witness,
    "group": _group,
    "quorum": _quorum,
}
