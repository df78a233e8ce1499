"""TLS of an endpoint's own: a client certificate (mTLS) and authorities that replace the public ones."""

from __future__ import annotations

import os
import ssl
import tempfile
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from kernel.types import Json
from webhooks.options import Tls

LONGEST = 32_768  # characters of one PEM text
_KINDS = (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)
_LARGEST_RSA = 4_096  # bits; signing with more holds up everybody else's sends


class Unusable(ValueError):
    """Texts with which no TLS context can be made."""


def context(tls: Tls) -> ssl.SSLContext:
    """Made anew at every call, in some ten milliseconds. Raises Unusable saying what is wrong with the texts."""
    try:
        made = ssl.create_default_context(cadata=tls.ca or None)
        made.set_alpn_protocols(["http/1.1"])
        if tls.certificate:
            _load(made, tls)
    except ssl.SSLError as error:
        raise Unusable(f"OpenSSL does not take it: {error.reason or 'no PEM'}") from error
    except ValueError as error:
        raise Unusable("a text is no PEM") from error
    return made


def _load(made: ssl.SSLContext, tls: Tls) -> None:
    """Python hands OpenSSL files only, so the key lies in one for a moment, under a password that is thrown away."""
    password = os.urandom(24).hex().encode()
    locked = _key(tls.key).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
    with tempfile.NamedTemporaryFile(prefix="parley-tls-") as file:
        file.write(tls.certificate.encode() + b"\n" + locked)
        file.flush()
        made.load_cert_chain(file.name, password=password)


def fault(tls: Tls, now: datetime) -> tuple[str, str] | None:
    """Which text cannot be used and why, or None."""
    if bool(tls.certificate) != bool(tls.key):
        missing = "key" if tls.certificate else "certificate"
        return missing, "a client certificate and its key belong together"
    for name in ("certificate", "key", "ca"):
        if len(getattr(tls, name)) > LONGEST:
            return name, f"at most {LONGEST} characters"
    reading = "certificate"
    try:
        chain = x509.load_pem_x509_certificates(tls.certificate.encode()) if tls.certificate else []
        reading = "key"
        key = _key(tls.key) if tls.key else None
        reading = "ca"
        if tls.ca:
            x509.load_pem_x509_certificates(tls.ca.encode())
    except ValueError as error:
        return reading, f"this is no PEM that we can read: {error}"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size > _LARGEST_RSA:
        return "key", f"an RSA key of at most {_LARGEST_RSA} bits"
    if key and _spki(key.public_key()) != _spki(chain[0].public_key()):
        return "key", "the key does not belong to the first certificate"
    if chain and chain[0].not_valid_after_utc <= now:
        return "certificate", f"the certificate ended on {chain[0].not_valid_after_utc:%Y-%m-%d}"
    try:
        context(tls)
    except Unusable as error:
        return "certificate", str(error)
    return None


def shown(tls: Tls) -> Json:
    """What of it may be shown: whose certificate it is, until when, and its SHA-256 in hex."""
    facts: Json = {"ca": bool(tls.ca)}
    if tls.certificate:
        first = x509.load_pem_x509_certificates(tls.certificate.encode())[0]
        facts["subject"] = first.subject.rfc4514_string()
        facts["not_after"] = first.not_valid_after_utc.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        facts["fingerprint"] = first.fingerprint(hashes.SHA256()).hex()
    return facts


def _key(text: str) -> PrivateKeyTypes:
    try:
        key = load_pem_private_key(text.encode(), None)
        if not isinstance(key, _KINDS):
            raise ValueError("a kind of key that TLS does not sign with")
        return key
    except TypeError as error:
        raise ValueError("the key has a password") from error
    except UnsupportedAlgorithm as error:
        raise ValueError("a kind of key that we do not know") from error


def _spki(key: object) -> bytes:
    spki: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return spki
