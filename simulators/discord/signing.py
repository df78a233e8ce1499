"""Ed25519 keys of applications (https://docs.discord.com/developers/interactions/overview)."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def public_key(seed: str) -> str:
    """The key that an application verifies with; both are hex."""
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def sign(seed: str, timestamp: str, body: bytes) -> str:
    """The signature of a request, hex, over its timestamp and its body."""
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)).sign(timestamp.encode() + body).hex()
