"""Clients of Alibaba Cloud API Gateway that others wrote, unchanged, through the real Envoy."""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from aliyun_api_gateway import ApiGatewayClient, ApiGatewayRequest
from aliyun_api_gateway.models import ApiGatewayResponse

from tests.e2e.support.alibaba import CODE, KEY, SECRET, gateway
from tests.e2e.support.node import Client, Unavailable
from tests.e2e.support.stack import Stack

#: 15 minutes, in which a timestamp holds.
WINDOW = 900
REQUEST_ID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with gateway() as stack:
        yield stack


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """The official client, for Node.js."""
    try:
        return Client(tmp_path_factory.mktemp("node"))
    except Unavailable as reason:
        pytest.skip(str(reason))


def _tag() -> str:
    return f"live-{uuid.uuid4()}"


def _ms(ago: float) -> str:
    return str(int((time.time() - ago) * 1000))


# -- the official client ---------------------------------------------------------------------------


class Told(dict[str, Any]):
    """What the official client says of a call."""

    @property
    def message(self) -> str:
        return str(self["headers"]["x-ca-error-message"])


def ask(
    node: Client, stack: Stack, method: str, target: str, asked: dict[str, Any], **options: Any
) -> Told:
    """Call as an application does."""
    url = f"http://127.0.0.1:{stack.port}{target}"
    whole = {"key": KEY, "secret": SECRET, "stage": "RELEASE", **asked}
    return Told(node.call({**whole, "method": method, "url": url, "options": options}))


FORM = "application/x-www-form-urlencoded; charset=UTF-8"


@pytest.mark.parametrize(
    ("method", "target", "options", "body"),
    [
        ("get", "/v1/items?z=1&b=2&a=%E4%BD%A0+x&_u=5&B=", {}, b""),
        ("get", "/v1/items", {"signHeaders": {"X-Business-Id": "42"}}, b""),
        ("post", "/v1/orders?dry=1", {"data": {"name": "张三", "amount": 100.5}}, None),
        (
            "post",
            "/v1/login?a=1",
            {"data": {"user": "小明", "pass": "p+1 "}, "headers": {"content-type": FORM}},
            b"user=%E5%B0%8F%E6%98%8E&pass=p%2B1%20",
        ),
        ("delete", "/v1/orders/7?force=1&a=", {}, b""),
        ("put", "/vendor/orders/7", {"data": {"a": 1}}, b'{"a":1}'),
    ],
)
def test_the_official_client(
    node: Client,
    stack: Stack,
    method: str,
    target: str,
    options: dict[str, Any],
    body: bytes | None,
) -> None:
    """Its requests pass, arrive as they were sent, and are known to be the app's."""
    tag = _tag()
    headers = {"x-tag": tag, **options.get("headers", {})}
    told = ask(node, stack, method, target, {}, **{**options, "headers": headers})

    assert told["status"] == 200, told
    [received] = stack.recorder.of(tag)
    assert (received.method.decode(), received.target.decode()) == (method.upper(), target)
    assert received.values("x-consumer-username") == [b"app"]
    if body is not None:
        assert received.body == body
    else:
        assert json.loads(received.body) == options["data"]


@pytest.mark.parametrize("target", ["/v1/by-code", "/v1/by-code?x=1"])
def test_the_official_simple_client(node: Client, stack: Stack, target: str) -> None:
    """Its AppCode passes, and the upstream never sees it."""
    own = f"{target}{'&' if '?' in target else '?'}own={_tag()}"
    assert ask(node, stack, "get", own, {"code": CODE})["status"] == 200

    [received] = [each for each in stack.recorder.of("") if each.target == own.encode()]
    assert received.values("x-consumer-username") == [b"app"]
    assert CODE.encode() not in received.everything

    refused = ask(node, stack, "get", own, {"code": "wrong"})
    assert (refused["status"], refused.message) == (403, "Invalid AppCode")
    assert refused["headers"]["x-ca-error-code"] == "A400AC"


@pytest.mark.parametrize(
    ("asked", "headers", "status", "code", "message"),
    [
        ({"key": "999"}, {}, 400, "A400IK", "Invalid AppKey"),
        ({"stage": "NOSUCH"}, {}, 400, "I400SG", "Invalid Stage"),
        ({}, {"x-ca-timestamp": "yesterday"}, 400, "I400HD", "Invalid Timestamp"),
        ({}, {"x-ca-timestamp": WINDOW + 1}, 400, "I400HD", "Timestamp Expired"),
        ({}, {"x-ca-timestamp": -WINDOW - 10}, 400, "I400HD", "Timestamp Expired"),
    ],
)
def test_what_the_official_client_is_told(
    node: Client,
    stack: Stack,
    asked: dict[str, Any],
    headers: dict[str, Any],
    status: int,
    code: str,
    message: str,
) -> None:
    """Code, message and request id, where it looks for them; by default with the status 403."""
    sent = {n: v if isinstance(v, str) else _ms(v) for n, v in headers.items()}
    for target, expected in (("/vendor/x", status), ("/v1/x", 403)):
        told = ask(node, stack, "get", target, asked, headers=sent)
        assert (told["status"], told["headers"]["x-ca-error-code"]) == (expected, code)
        assert message in told.message
        identifier = told["headers"]["x-ca-request-id"]
        assert REQUEST_ID.fullmatch(identifier)
        assert identifier in told["text"]


def test_a_wrong_secret(node: Client, stack: Stack) -> None:
    """The client is shown what the server would have signed."""
    told = ask(node, stack, "get", "/v1/items?b=2&a=%E4%BD%A0", {"secret": "wrong"})

    assert (told["status"], told["headers"]["x-ca-error-code"]) == (403, "A403IS")
    assert re.fullmatch(
        r"Invalid Signature, Server StringToSign:`GET#application/json####x-ca-key:203753385"
        r"#x-ca-nonce:[0-9a-f-]{36}#x-ca-stage:RELEASE#x-ca-timestamp:\d{13}"
        r"#/v1/items\?a=%E4%BD%A0&b=2`",
        told.message,
    )


def test_a_request_is_good_once(node: Client, stack: Stack) -> None:
    """The same nonce again is a replay, however it is signed; nearly 15 minutes are not too old."""
    headers = {"x-ca-nonce": _tag(), "x-ca-timestamp": _ms(WINDOW - 30)}
    first, second = (ask(node, stack, "get", "/v1/once", {}, headers=headers) for _ in range(2))

    assert first["status"] == 200
    assert (second["status"], second["headers"]["x-ca-error-code"]) == (403, "I400HD")
    assert second.message == "Invalid Header `X-Ca-Nonce` Nonce Used"


def test_a_body_that_nothing_covers(node: Client, stack: Stack) -> None:
    """The official client sends no Content-MD5 with PUT: the vendor takes that, the default not."""
    told = ask(node, stack, "put", "/v1/orders/7", {}, data={"a": 1})

    assert (told["status"], told["headers"]["x-ca-error-code"]) == (403, "I400MH")
    assert told.message == "Header `Content-MD5` is Required"


# -- a client that others wrote --------------------------------------------------------------------


def client(stack: Stack, **more: Any) -> ApiGatewayClient:
    chosen = {"app_key": KEY, "app_secret": SECRET, **more}
    return ApiGatewayClient(f"http://127.0.0.1:{stack.port}", **chosen)


def request(method: str, path: str, **more: Any) -> tuple[str, ApiGatewayRequest]:
    """A request, and the tag by which it is found at the upstream."""
    tag = _tag()
    headers = {"x-tag": tag, **more.pop("headers", {})}
    return tag, ApiGatewayRequest(method, path, headers=headers, **more)


def _message(response: ApiGatewayResponse) -> str:
    return response.get_header("X-Ca-Error-Message") or ""


@pytest.mark.parametrize("algorithm", ["HmacSHA256", "HmacSHA1"])
@pytest.mark.parametrize(
    ("method", "path", "more"),
    [
        ("GET", "/vendor/items", {"query": (("z", "1"), ("a", "你 x"), ("e", ""))}),
        ("GET", "/vendor/items", {"query": (("t", "1"), ("t", "2"))}),
        ("GET", "/vendor/user/a b/中文", {}),
        ("HEAD", "/vendor/items", {}),
        ("OPTIONS", "/vendor/items", {}),
        ("DELETE", "/vendor/items/3", {"query": (("why", ""),)}),
        ("POST", "/vendor/orders", {"json_body": {"名": "值"}}),
        ("PUT", "/vendor/blob", {"body": b"\x00\x01\xff"}),
        ("POST", "/vendor/login", {"form": (("user", "小明"), ("pass", "p+1 &="))}),
        ("POST", "/vendor/login", {"query": (("d", "q"),), "form": (("d", "f"), ("a", "1"))}),
        ("POST", "/vendor/ping", {"body": b""}),
    ],
)
def test_another_client(
    stack: Stack, algorithm: str, method: str, path: str, more: dict[str, Any]
) -> None:
    """With both algorithms, where it reads the vendor's text in its own way, too."""
    tag, asked = request(method, path, **more)
    response = client(stack, signature_method=algorithm).send(asked)

    assert response.status == 200, _message(response)
    [received] = stack.recorder.of(tag)
    assert received.values("x-consumer-username") == [b"app"]


@pytest.mark.parametrize(
    ("method", "more", "told"),
    [
        ("GET", {"query": (("a", "1"),)}, None),
        ("POST", {"json_body": {"a": 1}}, None),
        ("POST", {"form": (("a", "1"),)}, None),
        ("GET", {"headers": {"X-Biz": "1"}, "additional_signed_headers": ["X-Biz"]}, None),
        ("GET", {"query": (("t", "1"), ("t", "2"))}, "Ambiguous Parameters"),
        ("GET", {"query": (("t", "1&u=2"),)}, "Ambiguous Parameters"),
    ],
)
def test_another_client_by_default(
    stack: Stack, method: str, more: dict[str, Any], told: str | None
) -> None:
    """What has one meaning passes; what the signature would hold for twice does not."""
    tag, asked = request(method, "/v1/items", **more)
    response = client(stack).send(asked)

    if told is None:
        assert response.status == 200, _message(response)
        assert len(stack.recorder.of(tag)) == 1
    else:
        assert (response.status, _message(response)) == (403, told)
        assert stack.recorder.of(tag) == []


@pytest.mark.parametrize(
    ("more", "path", "message"),
    [
        ({"signature_method": "HmacSHA1"}, "/v1/x", "`X-Ca-Signature-Method` Not Allowed"),
        ({"app_secret": "wrong"}, "/v1/x", "Server StringToSign:`GET#application/json#"),
        ({"clock": lambda: time.time() - WINDOW - 1}, "/v1/x", "Timestamp Expired"),
        ({"clock": lambda: time.time() + WINDOW + 10}, "/vendor/x", "Timestamp Expired"),
    ],
)
def test_what_another_client_is_told(
    stack: Stack, more: dict[str, Any], path: str, message: str
) -> None:
    tag, asked = request("GET", path)
    response = client(stack, **more).send(asked)

    assert message in _message(response)
    assert response.body == b""
    assert REQUEST_ID.fullmatch(response.get_header("X-Ca-Request-Id") or "")
    assert stack.recorder.of(tag) == []


def test_of_copies_at_the_same_moment_one_passes(stack: Stack) -> None:
    """The same bytes at both workers at once: exactly one 200."""
    tag, asked = request("GET", "/v1/copies")
    signed = client(stack).sign(asked)
    together = threading.Barrier(8)

    def send() -> tuple[int, str]:
        with httpx.Client() as http:
            together.wait()
            answer = http.get(signed.url, headers=dict(signed.headers))
            return answer.status_code, answer.headers.get("x-ca-error-message", "")

    with ThreadPoolExecutor(8) as pool:
        answers = [each.result() for each in [pool.submit(send) for _ in range(8)]]

    assert sorted(answers) == [(200, ""), *[(403, "Invalid Header `X-Ca-Nonce` Nonce Used")] * 7]
    assert len(stack.recorder.of(tag)) == 1
