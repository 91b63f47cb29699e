"""Signed notes and checkpoints as specified by C2SP (signed-note, tlog-checkpoint, tlog-cosignature), Ed25519.

A note is text ending in a newline, an empty line, and signature lines `— name base64(key id || signature)`.
A checkpoint's text is origin, size, base64 root, each on a line.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.errors import NoteError

ED25519 = 0x01
COSIGNATURE = 0x04
_MAX_NOTE = 1_000_000
_MAX_SIGNATURES = 100
_SIGNATURE = re.compile(r"— (\S+) ([A-Za-z0-9+/]+={0,2})")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,15}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """First 4 bytes of SHA256(name || newline || kind || public key)."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


@dataclass(frozen=True, slots=True)
class Verifier:
    """A name and an Ed25519 public key; `kind` says whether it signs notes or cosigns checkpoints."""

    name: str
    public: bytes
    kind: int = ED25519

    def __post_init__(self) -> None:
        if not self.name or re.search(r"[\s+]", self.name) or len(self.public) != 32 or self.kind not in (1, 4):
            raise NoteError(f"not a verifier key: {self.name!r}", where="note", mend="names hold no space and no +")

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """From the text form `name+keyid+base64(kind || public key)`."""
        try:
            name, ident, blob = vkey.strip().split("+", 2)
            raw = base64.b64decode(blob, validate=True)
            verifier = cls(name, raw[1:], raw[0])
        except (ValueError, IndexError, binascii.Error) as error:
            raise NoteError(f"not a verifier key: {vkey[:80]!r}", where="note") from error
        if ident != verifier.key_id.hex():
            raise NoteError(f"key id {ident} does not belong to {name}", where="note")
        return verifier

    @property
    def key_id(self) -> bytes:
        return key_id(self.name, self.kind, self.public)

    @property
    def vkey(self) -> str:
        """Text form, as in policies and genesis."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    def accepts(self, text: str, signature: bytes) -> bool:
        """Is this a signature of the text? A cosignature covers its own time stamp too."""
        message = text.encode()
        if self.kind == COSIGNATURE:
            if len(signature) != 72:
                return False
            message = _cosigned(text, struct.unpack(">Q", signature[:8])[0])
            signature = signature[8:]
        return ed25519_verify(self.public, signature, message)


@dataclass(frozen=True, slots=True)
class Signer:
    """An Ed25519 private key with its name."""

    name: str
    private: Ed25519PrivateKey

    @property
    def verifier(self) -> Verifier:
        return Verifier(self.name, self.private.public_key().public_bytes_raw())

    @property
    def cosigner(self) -> Verifier:
        return Verifier(self.name, self.private.public_key().public_bytes_raw(), COSIGNATURE)

    def line(self, text: str) -> str:
        """The signature line for a note's text."""
        return _line(self.name, self.verifier.key_id + self.private.sign(text.encode()))

    def sign_field(self, message: bytes) -> dict[str, str]:
        """The `sig` field of an entry: key id and signature."""
        return {"kid": self.verifier.key_id.hex(), "s": base64.b64encode(self.private.sign(message)).decode()}

    def cosignature(self, text: str, time_s: int) -> str:
        """The cosignature/v1 line for a checkpoint's text, saying it was seen at time_s (Unix seconds)."""
        signature = struct.pack(">Q", time_s) + self.private.sign(_cosigned(text, time_s))
        return _line(self.name, self.cosigner.key_id + signature)


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note: its text and (name, key id, signature) lines. Parsing proves nothing; see `verify`."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    @classmethod
    def parse(cls, note: str) -> Note:
        """Raises NoteError unless the form is exactly that of C2SP signed-note."""
        text, blank, tail = note.rpartition("\n\n")
        if not blank or not tail.endswith("\n") or _CONTROL.search(note) or len(note) > _MAX_NOTE:
            raise NoteError("not a signed note", where="note", mend="text, an empty line, then signature lines")
        lines = tail[:-1].split("\n")
        if len(lines) > _MAX_SIGNATURES:
            raise NoteError(f"{len(lines)} signatures, at most {_MAX_SIGNATURES}", where="note")
        return cls(text + "\n", tuple(_signature(line) for line in lines))

    def verify(self, verifiers: Iterable[Verifier]) -> list[Verifier]:
        """Which verifiers signed. A wrong signature under a known key refuses the whole note (NoteError)."""
        known = {(v.name, v.key_id): v for v in verifiers}
        found: dict[tuple[str, bytes], Verifier] = {}
        for name, ident, signature in self.signatures:
            verifier = known.get((name, ident))
            if verifier is None or (name, ident) in found:
                continue
            if not verifier.accepts(self.text, signature):
                raise NoteError(f"wrong signature of {name} ({ident.hex()})", where="note")
            found[name, ident] = verifier
        return list(found.values())


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: origin, number of entries, Merkle root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @property
    def digest(self) -> str:
        """SHA-256 of the text without signatures: what an anchor holds."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """From a note's text. Raises NoteError unless it is exactly three lines with a 32-byte root."""
        try:
            origin, size, root, rest = text.split("\n", 3)
            raw = base64.b64decode(root, validate=True)
        except (ValueError, binascii.Error) as error:
            raise NoteError("not a checkpoint", where="note") from error
        if (
            rest
            or not origin
            or not _DECIMAL.fullmatch(size)
            or len(raw) != 32
            or base64.b64encode(raw).decode() != root
        ):
            raise NoteError("not a checkpoint", where="note", mend="lines: origin, size, base64 root of 32 bytes")
        return cls(origin, int(size), raw)


def sign(text: str, *signers: Signer) -> str:
    """The note of this text with a signature line per signer."""
    if not text.endswith("\n"):
        raise NoteError("a note's text ends with a newline", where="note")
    return text + "\n" + "".join(signer.line(text) for signer in signers)


def ed25519_verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Is it an Ed25519 signature of the message? False also for keys that are none."""
    try:
        _public_key(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=256)
def _public_key(public: bytes) -> Ed25519PublicKey:
    """Few keys sign many entries."""
    return Ed25519PublicKey.from_public_bytes(public)


def _cosigned(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def _line(name: str, blob: bytes) -> str:
    return f"— {name} {base64.b64encode(blob).decode()}\n"


def _signature(line: str) -> tuple[str, bytes, bytes]:
    match = _SIGNATURE.fullmatch(line)
    if match is None or "+" in match[1]:
        raise NoteError("not a signature line", where="note")
    try:
        blob = base64.b64decode(match[2], validate=True)
    except binascii.Error as error:
        raise NoteError("not a signature line", where="note") from error
    if len(blob) < 5 or base64.b64encode(blob).decode() != match[2]:
        raise NoteError("not a signature line", where="note")
    return match[1], blob[:4], blob[4:]
