"""Keys of a ledger: one secret, from which the log's, the actors' and the nonce keys are derived (HKDF, RFC 5869).

`derived` keys come from a run's seed: they prove integrity, not identity. `random` keys come from the system.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
from functools import cache
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledger.errors import LedgerError
from ledger.note import Signer

FILE = "ring.key"
Kind = Literal["derived", "random"]


class KeyRing:
    """All signing keys of one ledger. The secret is never printed and leaves only through `save`."""

    def __init__(self, secret: bytes, kind: Kind) -> None:
        self._secret = secret
        self.kind: Kind = kind
        self._signer = cache(self._make)

    @classmethod
    def derived(cls, seed: int) -> KeyRing:
        """Test keys: the same seed gives the same keys, so anyone who knows the seed can sign."""
        return cls(_hkdf(str(int(seed)).encode(), b"seed"), "derived")

    @classmethod
    def random(cls) -> KeyRing:
        """Keys from the operating system's randomness."""
        return cls(secrets.token_bytes(32), "random")

    def signer(self, name: str, generation: int = 0) -> Signer:
        """The signing key of a log or an actor; a rotated key has the next generation."""
        return self._signer(name, generation)

    def nonce_key(self) -> bytes:
        """Key of the salts of reading leaves (batch.nonce)."""
        return _hkdf(self._secret, b"reading nonces")

    def save(self, folder: Path) -> Path:
        """Write the secret to folder/ring.key, readable by its owner alone. Never overwrites another key."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / FILE
        line = f"vpptwin-keys-v1 {self.kind} {base64.b64encode(self._secret).decode()}\n"
        if path.exists():
            if path.read_text() != line:
                raise LedgerError("another key is here", where=str(path), mend="choose an empty folder")
            return path
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        return path

    @classmethod
    def load(cls, folder: Path) -> KeyRing:
        """Read folder/ring.key; a file that others may read is refused."""
        path = folder / FILE
        try:
            mode, line = path.stat().st_mode, path.read_text()
        except OSError as error:
            raise LedgerError("no keys here", where=str(path), mend="create the ledger first") from error
        if mode & 0o077:
            raise LedgerError("keys are readable by others", where=str(path), mend=f"chmod 600 {path.name}")
        match = re.fullmatch(r"vpptwin-keys-v1 (derived|random) ([A-Za-z0-9+/]{43}=)\n", line)
        if match is None:
            raise LedgerError("not a key file of this version", where=str(path))
        return cls(base64.b64decode(match[2]), "derived" if match[1] == "derived" else "random")

    def _make(self, name: str, generation: int) -> Signer:
        info = f"key/{generation}/{name}".encode()
        return Signer(name, Ed25519PrivateKey.from_private_bytes(_hkdf(self._secret, info)))


def _hkdf(secret: bytes, info: bytes) -> bytes:
    kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=b"vpptwin/ledger/v1", info=info)
    return kdf.derive(secret)
