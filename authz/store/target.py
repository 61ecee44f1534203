"""Where the store is: its URL, checked and taken apart."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

#: What a store's URL may begin with.
SCHEMES = (
    *("redis", "rediss", "unix"),
    *("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"),
)


class StoreUrlError(Exception):
    """The store's URL cannot be understood. The text says what is expected."""


class Target(Struct, frozen=True):
    """Where the store is: `redis://`, `rediss://`, `unix://`, with `+sentinel` or `+cluster`.

    `redis+sentinel://host:26379,host:26379/SERVICE/DB` asks Sentinels for the primary;
    `redis+cluster://host:port,host:port` names some nodes of a cluster.
    """

    url: str

    def __repr__(self) -> str:
        return f"Target({self.shown})"

    @property
    def shown(self) -> str:
        """The URL without its password, for messages."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"

    def check(self) -> None:
        """Raises `StoreUrlError` for a URL that cannot name a store."""
        try:
            parts = urlsplit(self.url)
            if parts.scheme not in SCHEMES:
                raise ValueError(f"{parts.scheme}:// is not one of them")
            if parts.scheme.endswith(("+sentinel", "+cluster")):
                _hosts(parts.netloc)
            elif parts.scheme != "unix" and not parts.hostname:
                raise ValueError("no host")
            else:
                _ = parts.port
            if parts.scheme.endswith("+sentinel") and not parts.path.strip("/"):
                raise ValueError("no service name")
        except ValueError as error:
            raise StoreUrlError(
                f"{self.shown}: {error}; expected redis://HOST:PORT/DB, rediss://…, unix:///PATH, "
                "redis+sentinel://HOST:PORT,…/SERVICE or redis+cluster://HOST:PORT,…"
            ) from None


def _hosts(netloc: str) -> list[tuple[str, int]]:
    pairs = (address.rpartition(":") for address in netloc.rpartition("@")[2].split(","))
    return [(host, int(port)) for host, _, port in pairs]


def hosts_of(url: str) -> list[tuple[str, int]]:
    """The hosts that a `+sentinel` or `+cluster` URL names."""
    return _hosts(urlsplit(url).netloc)


def login_of(url: str) -> dict[str, Any]:
    """User, password and TLS options of a URL, as the client's keyword arguments."""
    parts = urlsplit(url)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    login: dict[str, Any] = {}
    if user:
        login["username"] = unquote(user)
    if password:
        login["password"] = unquote(password)
    if parts.scheme.startswith("rediss"):
        login["ssl"] = True
    login.update((k, v) for k, v in parse_qsl(parts.query) if k.startswith("ssl_"))
    return login
