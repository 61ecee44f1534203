"""One server of the store: its connections, its breaker, and its many errors as one class.

Everything has a time limit and nothing is repeated by itself. A call that fails opens the server's
breaker for a moment, so that requests do not queue up behind a server that is away.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis import exceptions as errors
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from authz.contracts import StoreDown
from authz.store.target import Address, Target

TLS_FAILED = "store_tls_failed"
BREAKER_OPEN = "store_breaker_open"
#: Why the store could not answer, the more special class first.
REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ssl.SSLError, TLS_FAILED),
    (errors.BusyLoadingError, "store_loading"),
    (errors.AuthenticationError, "store_auth_failed"),
    (errors.NoPermissionError, "store_auth_failed"),
    (errors.OutOfMemoryError, "store_full"),
    (errors.ReadOnlyError, "store_read_only"),
    (errors.TimeoutError, "store_timeout"),
    (errors.ConnectionError, "store_unreachable"),
    (errors.ClusterDownError, "store_unreachable"),
    (errors.AskError, "store_unreachable"),
    (errors.TryAgainError, "store_unreachable"),
    (errors.RedisError, "store_error"),
    (OSError, "store_unreachable"),
)
#: Of these it helps to know what the server said; of others it might repeat what it was sent.
_TELLING = ("store_auth_failed", "store_unreachable", TLS_FAILED)
#: What the client writes before an error that a command of several met, the command with it.
_COMMAND = "of pipeline caused error: "

#: So many calls in a row must run out of time before the breaker opens: one may be bad luck, on a
#: machine that is busy. A refused connection opens it at once.
TIMEOUTS_IN_A_ROW = 3
#: What is not sent again when nobody knows whether it was done: it would count twice.
_ONCE = ("set", "eval", "evalsha")
#: How long the breaker stays open: it doubles with each failure in a row, from and up to this.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5


class StoreConflict(Exception):
    """Somebody else changed the store meanwhile; plan again."""


class Unknown(Exception):
    """The server has not run this script since it began: send it whole. Nothing was done."""


class Redirected(StoreDown):
    """Another server of the cluster has this slot: for good, or for this one key (`asking`)."""

    def __init__(self, hint: errors.AskError) -> None:
        super().__init__("store_unreachable", "the cluster is moving this slot")
        self.slot: int = hint.slot_id
        self.host: str = hint.host
        self.port: int = hint.port
        self.asking = not isinstance(hint, errors.MovedError)


class Divided(StoreDown):
    """While a slot moves, some of these keys are here and some are there: ask for each alone."""


@contextmanager
def translated() -> Iterator[None]:
    """Redis's many errors as `StoreDown` with a reason."""
    try:
        yield
    except errors.WatchError:
        raise StoreConflict("the store was changed meanwhile") from None
    except errors.NoScriptError as error:
        raise Unknown from error
    except errors.AskError as error:
        raise Redirected(error) from error
    except errors.TryAgainError as error:
        raise Divided("store_unreachable", "the cluster is moving this slot") from error
    except tuple(kind for kind, _ in REASONS) as error:
        raise _down(error) from error


def _down(error: Exception) -> StoreDown:
    # The client wraps what TLS says into an error of its own.
    cause = error.__context__ if isinstance(error.__context__, ssl.SSLError) else error
    reason = next(reason for kind, reason in REASONS if isinstance(cause, kind))
    text = str(error).rpartition(_COMMAND)[2] if reason in _TELLING else ""
    return StoreDown(reason, text[:300])


def connect(
    target: Target,
    address: Address,
    timeout: float,
    *,
    protocol: int = 2,
    login: dict[str, str] | None = None,
) -> redis.Redis:
    """A client of one server, whose every call ends within its time limit and is never repeated by
    itself. `login` is another one than the URL's, with which no database is chosen."""
    place: dict[str, Any] = {"host": address.host, "port": address.port}
    if not address.port:
        place = {"unix_socket_path": address.host}
    who = target.login | {"db": target.database} if login is None else login
    return redis.Redis(
        **place,
        **who,
        **target.tls,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        protocol=protocol,
        client_name="authz",
        retry=Retry(NoBackoff(), 0),
        # Neither its name and version nor its offers: each costs a new connection a round trip.
        driver_info=None,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )


class Server:
    """Commands on one server. Thread-safe."""

    def __init__(self, target: Target, address: Address, timeout: float) -> None:
        self.address = address
        self.client = connect(target, address, timeout)
        self._timeout = timeout
        self._closed_until = 0.0
        self._pause = FIRST_PAUSE
        self._timeouts = 0

    def is_down(self) -> bool:
        """Whether a call would be refused without asking the server."""
        return time.monotonic() < self._closed_until

    def reopen(self) -> None:
        """Ask the server again at once: somebody saw it answer."""
        self._pause, self._closed_until, self._timeouts = FIRST_PAUSE, 0.0, 0

    def run(self, command: str, args: Any, options: Any, *, asking: bool = False) -> Any:
        """One command; `asking` for a key of a slot that is on its way here. Raises `StoreDown`."""
        if self.is_down():
            raise StoreDown(BREAKER_OPEN)
        try:
            with translated():
                answer = self._attempt(command, args, options, asking)
        except StoreDown as down:
            self._failed(down)
            raise
        self.reopen()
        return answer

    def _failed(self, down: StoreDown) -> None:
        # The refusal of one command says nothing about the next.
        if isinstance(down.__cause__, errors.ResponseError):
            return
        self._timeouts += 1
        if down.reason == "store_timeout" and self._timeouts < TIMEOUTS_IN_A_ROW:
            return
        self._closed_until = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _attempt(self, command: str, args: Any, options: Any, asking: bool) -> Any:
        """Once, and once more if a pooled connection turns out to be dead at once: the server
        restarted, and nothing was executed on the new connection yet."""
        started = time.monotonic()
        try:
            return self._once(command, args, options, asking)
        except errors.TimeoutError:
            raise
        except errors.ConnectionError:
            if time.monotonic() - started > self._timeout / 2 or command in _ONCE:
                raise
            return self._once(command, args, options, asking)

    def _once(self, command: str, args: Any, options: Any, asking: bool) -> Any:
        if not asking:
            return getattr(self.client, command)(*args, **options)
        with self.client.pipeline(transaction=False) as pipe:
            pipe.execute_command("ASKING")
            getattr(pipe, command)(*args, **options)
            return pipe.execute()[-1]

    def leave(self) -> None:
        """Ask it nothing more: its idle connections end."""
        self.client.connection_pool.disconnect(inuse_connections=False)
