"""The echo upstream: it says what arrived, and stays in step with its client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from authz.stack import upstream


@pytest.fixture
def echo() -> Iterator[httpx.Client]:
    with upstream.server("127.0.0.1:0") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}") as client:
            yield client
        server.shutdown()
        thread.join()


def test_it_says_what_arrived(echo: httpx.Client) -> None:
    answer = echo.put("/a%20b?x=1&x=2&y=", headers=[("apikey", "k"), ("apikey", "l")], content="hi")
    told = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert {"method": "PUT", "path": "/a%20b", "body": "hi"}.items() <= told.items()
    assert told["args"] == {"x": ["1", "2"], "y": ""}
    assert told["headers"]["Apikey"] == ["k", "l"]


def test_one_connection_many_requests(echo: httpx.Client) -> None:
    """A body that was not read to its end would be taken for the next request."""
    bodies = [b"", b"x" * 200_000, b"GET / HTTP/1.1\r\n\r\n"]
    for body in bodies:
        assert echo.post("/", content=body).json()["body"] == body[: upstream.MAX_BODY].decode()
        assert echo.post("/", content=iter([body, b"end"])).status_code == 200
        assert echo.request("BREW", "/").json()["method"] == "BREW"
    assert echo.head("/").text == ""
    assert echo.get("/").status_code == 200


def test_trailers_are_read(echo: httpx.Client) -> None:
    request = (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2;note=x\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"
        b"GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((echo.base_url.host, echo.base_url.port or 0)) as link:
        link.sendall(request)
        with link.makefile("rb") as file:
            answers = file.read().decode()
    assert '"body": "hi"' in answers
    assert '"path": "/next"' in answers


def test_on_a_unix_socket_that_somebody_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "u.sock"
    path.touch()
    with upstream.server(f"unix:{path}") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        transport = httpx.HTTPTransport(uds=str(path))
        with httpx.Client(transport=transport) as client:
            assert client.get("http://upstream/ip").json()["path"] == "/ip"
        server.shutdown()
        thread.join()
