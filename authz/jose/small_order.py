"""EdDSA keys that are points of small order: verifying asks nothing of the key (RFC 8032 section
5.1.7), so under these a signature that nobody made holds for many messages, or for all.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_P25519 = 2**255 - 19
_P448 = 2**448 - 2**224 - 1
#: The y of a point whose eightfold is the neutral one; its negative is another's.
_EIGHTH = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_25519 = (0, 1, _P25519 - 1, _EIGHTH, _P25519 - _EIGHTH)
_SMALL_448 = (0, 1, _P448 - 1)


def has_small_order(key: Ed25519PublicKey | Ed448PublicKey) -> bool:
    """Whether a key is such a point, in any of its spellings."""
    encoded = int.from_bytes(key.public_bytes_raw(), "little")
    # The highest bit, of Ed448 the highest byte, has the sign of x, which is of no importance here.
    if isinstance(key, Ed25519PublicKey):
        return encoded % 2**255 % _P25519 in _SMALL_25519
    return encoded % 2**448 % _P448 in _SMALL_448
