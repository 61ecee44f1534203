"""The store over TLS: whom we trust, who trusts us, and what is said when that fails."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

import pytest

from authz.admin import credentials
from authz.admin.catalog import Silent
from authz.contracts import StoreDown
from authz.store.redis import RedisStore
from authz.store.target import StoreUrlError, Target
from tests.store.test_cluster import ALICE, BOB, PATIENT
from tests.store.test_redis import Ear
from tests.support.cluster import Cluster
from tests.support.front import Front
from tests.support.sentinels import SERVICE, Sentinel
from tests.support.sites import Authority
from tests.support.valkey import Valkey, free_port
from tests.support.waiting import until
from tests.support.workers import apply, catalog, running

#: Starts a front of a port, with a certificate for these names; `client` asks for one, too.
Make = Callable[..., Front]


@pytest.fixture
def front(authority: Authority) -> Iterator[Make]:
    made: list[Front] = []

    def make(target: int, *names: str, client: bool = False, port: int = 0) -> Front:
        context = authority.context(*(names or ("127.0.0.1",)))
        if client:
            context.load_verify_locations(authority.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        made.append(Front(context, target, port))
        return made[-1]

    yield make
    for each in made:
        each.close()


def url_of(front: Front, query: Mapping[str, str], scheme: str = "rediss", path: str = "") -> str:
    return f"{scheme}://127.0.0.1:{front.port}{path}?{urlencode(query)}"


def patient(url: str) -> RedisStore:
    """TLS in front of Valkey is a test's own here, and slow."""
    return RedisStore(Target(url), 5.0, Silent())


def failure(url: str) -> StoreDown:
    with pytest.raises(StoreDown) as caught:
        patient(url).read(["k"])
    return caught.value


def test_a_worker_over_tls(front: Make, authority: Authority, store: Valkey) -> None:
    """Applied, read and heard of through TLS alone."""
    made = front(store.port)
    url = url_of(made, {"ssl_ca_certs": authority.ca_file})
    apply(url)
    with running(url, store_timeout_ms=PATIENT) as worker:
        assert [worker.ask(each).outcome for each in (ALICE, BOB)] == ["allow", "allow"]
        credentials.revoke(catalog(url), ("", "bob"), "key")
        until(lambda: worker.ask(BOB).outcome == "deny", "the revocation is felt")
    assert made.taken >= 3  # the command's, the worker's, the link


def test_an_authority_that_is_not_trusted(front: Make, store: Valkey) -> None:
    """By default the system's authorities are, and ours is none of them. The log says what TLS
    said, and what to look at."""
    made = front(store.port)
    down = failure(url_of(made, {}))

    assert down.reason == "store_tls_failed"
    assert "certificate verify failed" in down.detail
    assert made.taken == 0


def test_a_certificate_for_another_host(front: Make, authority: Authority, store: Valkey) -> None:
    """Unless the operator says that names do not matter."""
    made = front(store.port, "other.test")
    trusted = {"ssl_ca_certs": authority.ca_file}

    assert failure(url_of(made, trusted)).reason == "store_tls_failed"
    careless = url_of(made, {**trusted, "ssl_check_hostname": "false"})
    assert patient(careless).read(["k"]) == [None]


def test_a_store_that_wants_a_certificate(front: Make, authority: Authority, store: Valkey) -> None:
    """Ours, from the files that the URL names."""
    made = front(store.port, client=True)
    trusted = {"ssl_ca_certs": authority.ca_file}
    ours = authority.pair("authz.test")

    assert failure(url_of(made, trusted)).reason == "store_tls_failed"
    assert made.taken == 0
    known = url_of(made, {**trusted, "ssl_certfile": ours, "ssl_keyfile": ours})
    assert patient(known).read(["k"]) == [None]


def test_a_cluster_over_tls(front: Make, authority: Authority, tmp_path: Path) -> None:
    """The node names its TLS port as the one where it is."""
    port = free_port()
    cluster = Cluster(tmp_path, 1, "--cluster-announce-port", str(port))
    try:
        made = front(cluster.nodes[0].port, port=port)
        store = patient(url_of(made, {"ssl_ca_certs": authority.ca_file}, "rediss+cluster"))
        Ear(store)
        assert store.read(["k"]) == [None]
        assert failure(url_of(made, {}, "rediss+cluster")).reason == "store_tls_failed"
    finally:
        cluster.close()


def test_sentinels_over_tls(
    front: Make, authority: Authority, store: Valkey, tmp_path: Path
) -> None:
    """Both are spoken to over TLS, and the Sentinels have a user of their own."""
    primary = front(store.port)
    sentinel = Sentinel(
        tmp_path / "sentinel",
        free_port(),
        [
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 1",
            "user default off",
            "user asker on >canary +sentinel|get-master-addr-by-name +client|setname",
        ],
    )
    try:
        made = front(sentinel.port)
        trusted = {"ssl_ca_certs": authority.ca_file}
        login = {"sentinel_username": "asker", "sentinel_password": "canary"}
        where = ("rediss+sentinel", f"/{SERVICE}/0")
        found = patient(url_of(made, {**trusted, **login}, *where))
        Ear(found)
        assert found.read(["k"]) == [None]
        assert failure(url_of(made, trusted, *where)).reason == "store_auth_failed"
        assert failure(url_of(made, login, *where)).reason == "store_tls_failed"
    finally:
        sentinel.close()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://h/0?ssl_ca_certs=/x", "ssl_ca_certs is for rediss://"),
        ("rediss://h/0?ssl_ca_certs=/no/such/file", "ssl_ca_certs: there is no file /no/such"),
        ("rediss://h/0?ssl_cert_reqs=none", "the query may say ssl_ca_certs,"),
        ("redis://h/0?socket_timeout=100", "the query may say ssl_ca_certs,"),
        ("rediss://h/0?ssl_check_hostname=0", "ssl_check_hostname is true or false"),
        ("redis://h/zero", "the database is not a number"),
        ("redis+cluster://h:1/1", "a cluster has no databases"),
        ("redis://h:65536", "no port after a host"),
        ("redis+sentinel://h:1,h/main", "no port after a host"),
        ("redis://", "no host"),
        ("unix://", "no path"),
        ("redis://u:canary/x@h/0", "write %40 %2F %3F %23"),
        ("redis://u:canary#x@h/0", "write %40 %2F %3F %23"),
        ("redis://u:canary?x@h/0", "write %40 %2F %3F %23"),
        ("redis://u:canary@[h/0", "write %40 %2F %3F %23"),
    ],
)
def test_urls_that_are_refused(url: str, told: str) -> None:
    """With what is wrong; nothing of a password is repeated, however it was mistyped."""
    with pytest.raises(StoreUrlError) as caught:
        Target(url).check()

    assert told in str(caught.value)
    assert "canary" not in f"{caught.value} {Target(url)!r}"


def test_what_a_url_says() -> None:
    """Addresses with brackets, logins with escapes, a socket with a database."""
    target = Target("redis+sentinel://u:p%40%2F@[::1]:1,h:2/main/3?sentinel_password=a%40b")
    target.check()
    assert [str(each) for each in target.addresses] == ["::1:1", "h:2"]
    assert (target.kind, target.service, target.database) == ("sentinel", "main", 3)
    assert target.login == {"username": "u", "password": "p@/"}
    assert target.sentinel_login == {"password": "a@b"}
    assert target.shown == "redis+sentinel://[::1]:1,h:2/main/3"
    socket = Target("unix:///run/valkey.sock?db=2")
    assert (str(socket.addresses[0]), socket.database) == ("/run/valkey.sock", 2)
    assert Target("redis://h").addresses[0].port == 6379
