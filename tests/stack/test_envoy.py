"""envoy/envoy.yaml.tmpl against a real Envoy: what it lets through, and what it keeps out."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from google.protobuf.struct_pb2 import Struct

from authz.pb import external_auth_pb2 as pb
from authz.stack.upstream import MAX_BODY

if TYPE_CHECKING:
    from tests.stack.conftest import Answer, Gateway, Scripted


def allow(headers: dict[str, str] | None = None, remove: tuple[str, ...] = ()) -> Answer:
    """What authz answers for alice: identity headers, a consumer's name in the metadata."""
    metadata = Struct()
    metadata.update({"consumer": "alice", "credential": "alice-primary"})
    answer = pb.CheckResponse(dynamic_metadata=metadata)
    for name, value in {"x-consumer-username": "alice", **(headers or {})}.items():
        option = answer.ok_response.headers.add(append_action=2)
        option.header.key, option.header.value = name, value
    answer.ok_response.headers_to_remove.extend(remove)
    return lambda _: answer


def deny(status: int, body: str, headers: dict[str, str]) -> Answer:
    answer = pb.CheckResponse()
    answer.status.code = 7
    answer.denied_response.status.code = status  # type: ignore[assignment]
    answer.denied_response.body = body
    for name, value in headers.items():
        option = answer.denied_response.headers.add()
        option.header.key, option.header.value = name, value
    return lambda _: answer


def raw(gateway: Gateway, request: bytes) -> bytes:
    """Bytes that no client library would send, and the head of the answer."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as link:
        link.sendall(request)
        return link.recv(65536)


def test_without_an_authorizer_nothing_passes(alone: Gateway) -> None:
    answer = httpx.get(f"{alone.url}/ip", headers={"apikey": "alice-primary-key"})
    assert answer.status_code == 503


def test_a_denial_arrives_as_it_was_said(scripted: Scripted, client: httpx.Client) -> None:
    scripted.answer = deny(401, '{"message":"no"}', {"www-authenticate": 'apikey realm="key"'})
    answer = client.get("/ip")
    assert (answer.status_code, answer.text) == (401, '{"message":"no"}')
    assert answer.headers["www-authenticate"] == 'apikey realm="key"'


def test_a_fault_is_not_a_denial(scripted: Scripted, client: httpx.Client) -> None:
    fault = pb.CheckResponse()
    fault.status.code = 14
    fault.error_response.status.code = 503  # type: ignore[assignment]
    option = fault.error_response.headers.add()
    option.header.key, option.header.value = "retry-after", "1"
    scripted.answer = lambda _: fault
    answer = client.get("/ip")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_an_exception_in_the_authorizer_is_a_503(scripted: Scripted, client: httpx.Client) -> None:
    def fail(_: pb.CheckRequest) -> pb.CheckResponse:
        raise RuntimeError

    scripted.answer = fail
    assert client.get("/ip").status_code == 503


@pytest.mark.parametrize("consumer", [None, ""])
def test_an_allow_without_a_consumer_is_stopped(
    scripted: Scripted, client: httpx.Client, consumer: str | None
) -> None:
    """An empty CheckResponse is an allow to ext_authz; the filter behind it wants a name."""
    answer = pb.CheckResponse()
    if consumer is not None:
        answer.dynamic_metadata.update({"consumer": consumer})
    scripted.answer = lambda _: answer
    assert client.get("/ip").status_code == 403


def test_identity_is_stated_by_the_authorizer_alone(
    scripted: Scripted, client: httpx.Client
) -> None:
    scripted.answer = allow()
    sent = [
        ("X-Consumer-Username", "root"),
        ("x-consumer-username", "root"),
        ("X-CONSUMER-Groups", "admin"),
        ("x-credential-identifier", "root"),
        ("x-envoy-auth-partial-body", "false"),
        ("x-other", "kept"),
    ]
    headers = client.get("/ip", headers=sent).json()["headers"]
    told = {name for name, _ in scripted.headers}
    assert headers["X-Consumer-Username"] == "alice"
    assert not told & {name.lower() for name, _ in sent[:-1]}
    assert not {"X-Consumer-Groups", "X-Credential-Identifier"} & set(headers)
    assert headers["X-Other"] == "kept"


def test_what_a_client_says_of_itself_is_not_believed(
    scripted: Scripted, client: httpx.Client
) -> None:
    scripted.answer = allow()
    sent = {
        "x-forwarded-proto": "https",
        "x-request-id": "mine",
        "x-envoy-original-path": "/admin",
        "x-envoy-internal": "true",
        "x-forwarded-client-cert": "By=me",
        "x-envoy-upstream-rq-timeout-ms": "1",
    }
    headers = client.get("/ip", headers=sent).json()["headers"]
    assert headers["X-Forwarded-Proto"] == "http"
    assert headers["X-Request-Id"] != "mine"
    assert {name for name in headers if name.startswith("X-Envoy")} == {"X-Envoy-External-Address"}
    assert headers["X-Envoy-External-Address"] == "127.0.0.1"
    assert "X-Forwarded-Client-Cert" not in headers


def test_underscores_are_refused_unasked(scripted: Scripted, client: httpx.Client) -> None:
    scripted.asked.clear()
    assert client.get("/ip", headers={"x_consumer_username": "root"}).status_code == 400
    assert not scripted.asked


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("api.example.com", 200),
        ("api.example.com:9080", 200),
        ("127.0.0.1:9080", 200),
        ("[::1]:9080", 200),
        ("my_service", 200),
        ("a.example,b.example", 403),
        ("a.example\r\nHost: b.example", 403),
        ("a.example b.example", 400),
        ("user@a.example", 403),
        ("a.example:port", 403),
    ],
)
def test_one_host(scripted: Scripted, gateway: Gateway, host: str, status: int) -> None:
    scripted.answer = allow()
    scripted.asked.clear()
    answer = raw(gateway, f"GET /ip HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert answer.split(b" ", 2)[1] == str(status).encode()
    assert bool(scripted.asked) == (status == 200)


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("/public/../admin", "/admin"),
        ("/public/%2e%2e/admin", "/admin"),
        ("//admin//x", "/admin/x"),
        ("/a\\..\\admin", "/admin"),
        ("/%61dmin?next=/../x", "/admin?next=/../x"),
        ("/public/%2f../admin", None),
        ("/public/%5c../admin", None),
        ("/x%00", None),
    ],
)
def test_one_spelling_of_a_path(
    scripted: Scripted, gateway: Gateway, sent: str, seen: str | None
) -> None:
    scripted.answer = allow()
    scripted.asked.clear()
    answer = raw(gateway, f"GET {sent} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert [each.attributes.request.http.path for each in scripted.asked] == [seen][: bool(seen)]
    assert answer.startswith(b"HTTP/1.1 200" if seen else b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "request_line",
    ["OPTIONS *", "CONNECT a:443", "CONNECT /ip", "get /ip", "BREW /ip", "GET ip", "GET /ip#x"],
)
def test_what_has_no_route_or_no_sense_reaches_nobody(
    scripted: Scripted, gateway: Gateway, request_line: str
) -> None:
    scripted.answer = allow()
    scripted.asked.clear()
    answer = raw(gateway, f"{request_line} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert answer.split(b" ", 2)[1] in {b"400", b"403", b"404"}
    assert not scripted.asked


def test_an_upgrade_is_not_a_way_around(scripted: Scripted, gateway: Gateway) -> None:
    scripted.answer = deny(401, "{}", {})
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    answer = raw(gateway, f"GET /ip HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n".encode())
    assert answer.split(b" ", 2)[1] in {b"401", b"403"}


def test_credentials_can_be_hidden_wherever_they_sat(
    scripted: Scripted, client: httpx.Client
) -> None:
    scripted.answer = allow(
        {":path": "/ip?a=1"}, remove=("authorization", "apikey", "cookie", "x-key")
    )
    answer = client.get(
        "/ip?a=1&apikey=SECRET",
        headers={
            "authorization": "Basic SECRET",
            "apikey": "SECRET",
            "cookie": "key=SECRET",
            "x-key": "SECRET",
        },
    )
    assert "SECRET" not in answer.text
    assert answer.json()["args"] == {"a": "1"}
    assert answer.json()["headers"]["X-Consumer-Username"] == "alice"


@pytest.mark.parametrize(
    "header",
    ["host", "x-envoy-original-path", "content-length", "transfer-encoding", "x-forwarded-for"],
)
def test_an_authorizer_cannot_reroute_or_reframe(
    scripted: Scripted, client: httpx.Client, header: str
) -> None:
    scripted.answer = allow({header: "1"})
    assert client.get("/ip").status_code == 500


def test_a_line_break_in_a_denial_does_not_split_it(
    scripted: Scripted, client: httpx.Client
) -> None:
    scripted.answer = deny(401, "{}", {"x-note": "a\r\nset-cookie: b=c"})
    answer = client.get("/ip")
    assert (answer.status_code, answer.headers.get("set-cookie")) == (500, None)


def test_the_authorizer_sees_duplicates_and_raw_bytes(scripted: Scripted, gateway: Gateway) -> None:
    scripted.answer = allow()
    head = b"GET /ip HTTP/1.1\r\nHost: a\r\napikey: one\r\napikey: two\r\nx-raw: \xff\r\n\r\n"
    assert raw(gateway, head).startswith(b"HTTP/1.1 200")
    assert [value for name, value in scripted.headers if name == "apikey"] == [b"one", b"two"]
    assert ("x-raw", b"\xff") in scripted.headers
    assert not scripted.asked[-1].attributes.request.http.headers


def test_a_body_goes_upstream_and_not_to_the_authorizer(
    scripted: Scripted, client: httpx.Client
) -> None:
    scripted.answer = allow()
    body = "x" * 200_000  # more than the buffers of a connection
    answer = client.post("/ip", content=iter([body.encode()]))  # chunked
    http = scripted.asked[-1].attributes.request.http
    assert answer.json()["body"] == body[:MAX_BODY]
    assert (http.body, http.raw_body) == ("", b"")


def test_http2_with_prior_knowledge(scripted: Scripted, gateway: Gateway) -> None:
    scripted.answer = allow()
    with httpx.Client(http1=False, http2=True) as client:
        answer = client.get(f"{gateway.url}/ip", headers={"x-consumer-username": "root"})
    assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
    assert answer.json()["headers"]["X-Consumer-Username"] == "alice"


def test_the_access_log_names_the_consumer_and_no_query(
    scripted: Scripted, gateway: Gateway, client: httpx.Client
) -> None:
    scripted.answer = allow()
    answer = client.get("/logged?apikey=SECRET")
    wanted = answer.headers["x-request-id"]

    def found() -> list[dict[str, Any]]:
        return [line for line in gateway.access_log() if line["id"] == wanted]

    gateway.children.wait_for("access log", lambda: bool(found()))
    [line] = found()
    assert (line["path"], line["status"], line["consumer"]) == ("/logged", 200, "alice")
    assert "SECRET" not in str(gateway.access_log())


def test_another_worker_takes_over(scripted: Scripted, gateway: Gateway) -> None:
    scripted.answer = allow()
    second = type(scripted)()
    second.answer = allow({"x-consumer-username": "second"})
    with second.serving(gateway.wiring.authz[1]):
        gateway.wait_for_authz(2)
        seen = {_username(gateway) for _ in range(50)}
    after = {_username(gateway) for _ in range(20)}
    assert (seen, after) == ({"alice", "second"}, {"alice"})


def _username(gateway: Gateway) -> str:
    return str(httpx.get(f"{gateway.url}/ip").json()["headers"]["X-Consumer-Username"])
