"""Files for a mosquitto of one's own: passwords, access list, TLS. Made once, kept private, nothing has a default.

    made = write_security(folder, "homes", ["meter-1", "bat-1"], port=8883)     # passwords by user, also in a file
    mosquitto -c folder/mosquitto.conf

A device logs in under its own id and may publish its own telemetry, state, status, meta and acknowledgements and read
its own commands, nothing else. The user `service` reads everything of the site and alone publishes commands. The
pattern is not `%u/#`, with which a device could command itself (seen on mosquitto 2.0.11).
"""

from __future__ import annotations

import base64
import datetime as dt
import getpass
import hashlib
import ipaddress
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from devices.announcement import SERVICE
from devices.description import is_loopback
from devices.errors import DeviceError
from devices.homeassistant import PREFIX

_ROUNDS = 101
"""PBKDF2-SHA512 iterations in mosquitto's own password files, format $7$."""
_YEARS = 10
_CONF = """\
user {user}
per_listener_settings false
listener {port} {host}
allow_anonymous false
password_file {folder}/passwords
acl_file {folder}/acl
persistence false
log_dest stderr
log_type error
log_type warning
max_packet_size 65536
max_inflight_messages 0
max_queued_messages 0
"""
_TLS = """\
cafile {folder}/ca.crt
certfile {folder}/server.crt
keyfile {folder}/server.key
tls_version tlsv1.2
"""


class SecurityError(DeviceError):
    """Files that would overwrite others, or names that mosquitto cannot hold."""


@dataclass(frozen=True, slots=True)
class Security:
    """What was written."""

    conf: Path
    passwords: Mapping[str, str]
    """By user: `service` and every device. They are nowhere else but in secrets.txt beside the configuration."""
    tls_ca: Path | None


def access_list(site_id: str, wired: Iterable[str] = (), foreign: Mapping[str, Iterable[str]] | None = None) -> str:
    """mosquitto's ACL of a site. For the `wired` devices the service speaks: it may publish their state and meta.

    `foreign` meters, which speak through an adapter, may publish on these topics of their own.
    """
    theirs = {device: list(topics) for device, topics in (foreign or {}).items()}
    heard = "".join(f"topic read {topic}\n" for topics in theirs.values() for topic in topics)
    others = "".join(
        f"user {device}\n" + "".join(f"topic write {topic}\n" for topic in topics) for device, topics in theirs.items()
    )
    spoken = "".join(f"topic write vpp/{site_id}/{device}/{leaf}\n" for device in wired for leaf in ("state", "meta"))
    own = "".join(
        f"pattern write vpp/{site_id}/%u/{leaf}\n" for leaf in ("telemetry", "state", "status", "meta", "ack/#")
    )
    return (
        f"user {SERVICE}\ntopic read vpp/{site_id}/#\ntopic write vpp/{site_id}/+/cmd/#\n"
        f"topic write {PREFIX}/sensor/+/+/config\n{spoken}{heard}\n"
        f"{others}{own}pattern read vpp/{site_id}/%u/cmd/#\n"
    )


def password_line(user: str, password: str, salt: bytes | None = None) -> str:
    """A line of mosquitto's password file: user:$7$rounds$salt$hash."""
    salt = secrets.token_bytes(12) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS)
    return f"{user}:$7${_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


def write_security(
    folder: Path,
    site_id: str,
    devices: Iterable[str],
    *,
    wired: Iterable[str] = (),
    foreign: Mapping[str, Iterable[str]] | None = None,
    host: str = "127.0.0.1",
    port: int = 8883,
    tls: bool = True,
    now: dt.datetime,
) -> Security:
    """Write mosquitto.conf, passwords, acl, secrets.txt and, with `tls`, a certificate authority and a certificate.

    `devices` log in; for the `wired` ones the service speaks, `foreign` ones publish on topics of their own. `now`
    begins the certificates' ten years. A host other than loopback needs tls. Raises SecurityError.
    """
    users, wires = [SERVICE, *devices], list(wired)
    names = [*users, *wires]
    if len(set(names)) < len(names) or any(set(name) & set(":/+#\n ") for name in names):
        raise SecurityError(f"users {names}", mend=f"device ids differ from each other and from {SERVICE!r}")
    if not tls and not is_loopback(host):
        raise SecurityError(f"passwords in the clear on {host}", mend="use tls, or listen on 127.0.0.1")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise SecurityError("holds files already", where=str(folder), mend="name an empty folder")
    made = {user: secrets.token_urlsafe(24) for user in users}
    _private(folder / "passwords", "".join(password_line(user, word) for user, word in made.items()))
    _private(folder / "secrets.txt", "".join(f"{user} {word}\n" for user, word in made.items()))
    _private(folder / "acl", access_list(site_id, wires, foreign))
    # Started by root, mosquitto becomes this user before it reads the files, which are the owner's alone.
    conf = _CONF.format(user=getpass.getuser(), host=host, port=port, folder=folder)
    if tls:
        _certificates(folder, host, now)
        conf += _TLS.format(folder=folder)
    (folder / "mosquitto.conf").write_text(conf, encoding="utf-8")
    return Security(folder / "mosquitto.conf", made, folder / "ca.crt" if tls else None)


def _private(path: Path, text: str) -> None:
    """Readable by the owner alone, from the first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _certificates(folder: Path, host: str, now: dt.datetime) -> None:
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, subject = _name("vpptwin broker authority"), _name(host)
    ca = _builder(issuer, issuer, authority.public_key(), now).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    server = _builder(subject, issuer, key.public_key(), now).add_extension(
        x509.SubjectAlternativeName([alternative, x509.DNSName("localhost")]), critical=False
    )
    for name, builder in (("ca", ca), ("server", server)):
        certificate = builder.sign(authority, hashes.SHA256())
        (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    _private(folder / "server.key", pem)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime
) -> x509.CertificateBuilder:
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=1))
    return made.not_valid_after(now + dt.timedelta(days=365 * _YEARS))


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
