"""Sets of keys (RFC 7517 section 5): which key is a token's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from authz import strict_json
from authz.jose.jwk import OtherPurpose, from_jwk
from authz.jose.keys import UnfitKey, VerifyKey

#: No set is longer, in bytes of JSON and in keys.
MAX_SET = 256 * 1024
MAX_KEYS = 100


class KeySet(Struct, frozen=True):
    """Keys that verify, of public keys or of secrets, never of both; one JWK may stand for several,
    one an algorithm. No two have both id and algorithm in common."""

    keys: tuple[VerifyKey, ...]

    @classmethod
    def of(cls, plain: Any, *, oct: bool = False, forgiving: bool = False) -> KeySet:
        """A set from a JWK Set, or from a single JWK, as plain values. Raises `UnfitKey`.

        Keys of a set that are for other purposes are left out. One that is unfit refuses the set,
        but when it is `forgiving`, as for a set that somebody else publishes, it is left out as
        well. `oct` says that secrets are allowed.
        """
        if isinstance(plain, Mapping) and "keys" not in plain:
            return cls(from_jwk(plain, oct=oct))
        return cls(_of_set(plain, oct=oct, forgiving=forgiving))

    @classmethod
    def parse(cls, data: bytes, *, oct: bool = False, forgiving: bool = False) -> KeySet:
        """A set from JSON. Raises `UnfitKey`."""
        if len(data) > MAX_SET:
            raise UnfitKey(f"a key set of more than {MAX_SET} bytes")
        try:
            return cls.of(strict_json.load_object(data), oct=oct, forgiving=forgiving)
        except strict_json.NotStrict as error:
            raise UnfitKey(f"a key set is a JSON object: {error}") from None

    def find(self, kid: str | None, algorithm: str, *, lenient: bool = False) -> VerifyKey | None:
        """The one key for a token with this `kid`, or without one, and this algorithm.

        A `kid` is matched exactly. Only where `lenient` does one that matches no key stand for a
        key without an id. Without a `kid`, and then, there must be one choice.
        """
        fitting = [key for key in self.keys if key.algorithm == algorithm]
        if kid is not None:
            named = next((key for key in fitting if key.id == kid), None)
            if named is not None or not lenient:
                return named
            fitting = [key for key in fitting if key.id is None]
        return fitting[0] if len(fitting) == 1 else None

    def require(self, algorithm: str) -> None:
        """Raises `UnfitKey` unless there is a key for this algorithm."""
        if not any(key.algorithm == algorithm for key in self.keys):
            raise UnfitKey(f"no key in this set is for {algorithm}")


def _of_set(plain: Any, *, oct: bool, forgiving: bool) -> tuple[VerifyKey, ...]:
    members = plain.get("keys") if isinstance(plain, Mapping) else None
    if not isinstance(members, list):
        raise UnfitKey("not a JSON Web Key, nor a set of them")
    if len(members) > MAX_KEYS:
        raise UnfitKey(f"more than {MAX_KEYS} keys")
    keys: list[VerifyKey] = []
    for number, member in enumerate(members):
        try:
            keys.extend(from_jwk(member, oct=oct))
        except OtherPurpose:
            continue
        except UnfitKey as error:
            if not forgiving:
                raise UnfitKey(f"keys[{number}]: {error}") from None
    _check_choice(keys)
    return tuple(keys)


def _check_choice(keys: list[VerifyKey]) -> None:
    if not keys:
        raise UnfitKey("no key in this set can verify a signature")
    # A token signed with what one party knows must not pass for one that another party signed.
    if len({isinstance(key.key, bytes) for key in keys}) > 1:
        raise UnfitKey("both secrets and public keys in one set")
    named = [(key.id, key.algorithm) for key in keys if key.id is not None]
    if len(set(named)) < len(named):
        raise UnfitKey("two keys with one kid")
