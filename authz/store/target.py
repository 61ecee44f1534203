"""Where the store is: its URL, checked and taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from msgspec import Struct

#: What a store's URL may begin with.
SCHEMES = (
    *("redis", "rediss", "unix"),
    *("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"),
)
#: What its query may say: files in PEM, names in certificates, the Sentinels' own login.
FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
TLS = (*FILES, "ssl_check_hostname")
SENTINEL = ("sentinel_username", "sentinel_password")
QUERY = (*TLS, *SENTINEL, "db")

EXPECTED = (
    "expected redis://HOST:PORT/DB, rediss://…, unix:///PATH, "
    "redis+sentinel://HOST:PORT,…/SERVICE/DB or redis+cluster://HOST:PORT,…"
)
LAST_PORT = 65535
_BOOLEANS = {"true": True, "false": False}


class StoreUrlError(Exception):
    """The store's URL cannot be understood. The text says what is expected."""


class Address(NamedTuple):
    """Where one server listens. A Unix socket is a host with a slash, and port 0."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host


class Target(Struct, frozen=True):
    """Where the store is: `redis://`, `rediss://` (TLS), `unix://`, with `+sentinel` or `+cluster`.

    `redis+sentinel://host:26379,host:26379/SERVICE/DB` names the Sentinels that know the primary;
    `redis+cluster://host:port,host:port` names some nodes of a cluster. Every method may raise
    `StoreUrlError`, which never repeats a password.
    """

    url: str

    def __repr__(self) -> str:
        return f"Target({self.shown})"

    @property
    def shown(self) -> str:
        """The URL without its password and its query, for messages."""
        try:
            parts = _split(self.url)
        except StoreUrlError:
            return f"{self.url.partition(':')[0][:20]}://…"
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def check(self) -> None:
        """Raises `StoreUrlError` for a URL that cannot name a store."""
        parts = _split(self.url)
        try:
            if parts.scheme not in SCHEMES:
                raise ValueError(f"{parts.scheme}:// is not one of them")
            if parts.scheme.endswith("+sentinel") and not self.service:
                raise ValueError("no service name")
            _query(parts)
            _ = self.addresses, self.database, self.tls
        except ValueError as error:
            raise StoreUrlError(f"{self.shown}: {error}; {EXPECTED}") from None

    @property
    def kind(self) -> str:
        """`sentinel`, `cluster`, or nothing for one server."""
        return _split(self.url).scheme.partition("+")[2]

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The server, the Sentinels, or the nodes that are named."""
        parts = _split(self.url)
        if parts.scheme == "unix":
            if not parts.path.strip("/"):
                raise ValueError("no path")
            return (Address(unquote(parts.path), 0),)
        default = None if self.kind else 6379
        hosts = parts.netloc.rpartition("@")[2].split(",")
        return tuple(_address(host, default) for host in hosts)

    @property
    def service(self) -> str:
        """What the Sentinels call the primary."""
        return _split(self.url).path.strip("/").partition("/")[0]

    @property
    def database(self) -> int:
        parts = _split(self.url)
        path = "" if parts.scheme == "unix" else parts.path.strip("/")
        text = path.partition("/")[2] if self.kind == "sentinel" else path
        text = text or _query(parts).get("db", "0")
        if not (text.isascii() and text.isdigit()):
            raise ValueError("the database is not a number")
        if int(text) and self.kind == "cluster":
            raise ValueError("a cluster has no databases")
        return int(text)

    @property
    def tls(self) -> dict[str, Any]:
        """The client's TLS options; empty for a connection in the clear."""
        parts = _split(self.url)
        given = {name: value for name, value in _query(parts).items() if name in TLS}
        if not parts.scheme.startswith("rediss"):
            if given:
                raise ValueError(f"{min(given)} is for rediss://")
            return {}
        for name in FILES:
            if name in given and not Path(given[name]).is_file():
                raise ValueError(f"{name}: there is no file {given[name]}")
        check = given.pop("ssl_check_hostname", "true")
        if check not in _BOOLEANS:
            raise ValueError("ssl_check_hostname is true or false")
        return {"ssl": True, "ssl_check_hostname": _BOOLEANS[check], **given}

    @property
    def login(self) -> dict[str, str]:
        """User and password, as the client's keyword arguments."""
        user, _, password = _split(self.url).netloc.rpartition("@")[0].partition(":")
        return _given({"username": unquote(user), "password": unquote(password)})

    @property
    def sentinel_login(self) -> dict[str, str]:
        """The same for the Sentinels, which have users of their own."""
        query = _query(_split(self.url))
        return _given({name.partition("_")[2]: query.get(name, "") for name in SENTINEL})


def _split(url: str) -> SplitResult:
    """Raises `StoreUrlError` also where an unescaped password would pass for a path."""
    parts: SplitResult | None = None
    with suppress(ValueError):
        parts = urlsplit(url)
    if (
        parts is None
        or parts.fragment
        or "@" in parts.path
        or ("@" in parts.query and "@" not in parts.netloc)
    ):
        raise StoreUrlError(
            "the store's URL cannot be read (in a password, write %40 %2F %3F %23 for @ / ? #); "
            + EXPECTED
        )
    return parts


def _query(parts: SplitResult) -> dict[str, str]:
    found = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(found) - set(QUERY))
    if unknown:
        raise ValueError(f"the query may say {', '.join(QUERY)}, and nothing else")
    return found


def _address(text: str, default: int | None) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, "" if default is None else str(default)
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        raise ValueError("no host")
    if not (port.isascii() and port.isdigit() and int(port) <= LAST_PORT):
        raise ValueError("no port after a host")
    return Address(unquote(host), int(port))


def _given(options: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in options.items() if value}
