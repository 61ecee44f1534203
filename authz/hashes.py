"""Password hashes: argon2id (RFC 9106), ours and those of others that we are willing to compute."""

from __future__ import annotations

import re

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from argon2.low_level import Type

#: OWASP's second profile for argon2id: 19 MiB, 2 passes, 1 lane; some 20 ms, far below the time
#: that Envoy waits, and small enough for several at once.
HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)

_PASSWORD_HASH = re.compile(
    r"\$argon2id\$v=19\$m=([0-9]{1,9}),t=([0-9]{1,9}),p=([0-9]{1,9})"
    r"\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,86}"
)
#: Foreign hashes may cost more than ours, but not so much that one request stalls a worker.
MAX_MEMORY_KIB, MAX_PASSES, MAX_LANES = 256 * 1024, 10, 8


def hash_password(password: str) -> str:
    return HASHER.hash(password.encode("utf-8", "surrogateescape"))


def verify_password(password: str, hashed: str) -> bool:
    """Whether a password has this hash. Takes milliseconds: never on a thread that serves I/O."""
    try:
        return HASHER.verify(hashed, password.encode("utf-8", "surrogateescape"))
    except (VerificationError, ValueError):
        return False


def check_password_hash(hashed: str) -> None:
    """Raises ValueError unless this is an argon2id hash that we are willing to compute."""
    if hashed.startswith(("$argon2i$", "$argon2d$")):
        raise ValueError("only argon2id hashes are taken")
    found = _PASSWORD_HASH.fullmatch(hashed)
    if not found:
        raise ValueError("not an argon2id hash ($argon2id$v=19$m=…,t=…,p=…$salt$hash)")
    memory, passes, lanes = (int(number) for number in found.groups())
    if memory > MAX_MEMORY_KIB or passes > MAX_PASSES or lanes > MAX_LANES:
        raise ValueError("this hash costs more than a request may (256 MiB, 10 passes, 8 lanes)")
    if passes < 1 or lanes < 1 or memory < 8 * lanes:
        raise ValueError("not an argon2id hash: its costs make no sense")
