"""RSA keys of the generator that CVE-2017-15361 (ROCA) is about: their private half can be found.

Its primes are k*M + (65537^a mod M), where M is the product of many small primes. So modulo each
of these the modulus is a power of 65537; of a sound key this is true once in some 2^27.
"""

from __future__ import annotations

_GENERATOR = 65537
#: What divides M for every length of key.
_PRIMES = (
    *(3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97),
    *(101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167),
)


def _powers(prime: int) -> frozenset[int]:
    return frozenset(pow(_GENERATOR, exponent, prime) for exponent in range(prime))


#: Where every residue is a power, there is nothing to see.
_POWERS = tuple((prime, powers) for prime in _PRIMES if len(powers := _powers(prime)) < prime - 1)


def has_roca_fingerprint(modulus: int) -> bool:
    """Whether a modulus looks like one of that generator's."""
    return all(modulus % prime in powers for prime, powers in _POWERS)
