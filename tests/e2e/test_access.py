"""docs/access.md, through the real Envoy: its document gives the answers of its table."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.support.secrecy import logged
from tests.e2e.support.stack import Stack, running
from tests.e2e.support.wire import Line
from tests.support.waiting import until
from tests.support.workers import apply

PAGE = (Path(__file__).parents[2] / "docs" / "access.md").read_text()
[DOCUMENT] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
ROWS = re.findall(r"^\| (\w+) \| `(\w+) (\S+)` \| (\d+) \| (\w*) ?\|$", PAGE, re.MULTILINE)
KEYS: dict[str, Line] = {
    "acme": ("authorization", f"Basic {base64.b64encode(b'acme:acme-password').decode()}")
}
HOST = "orders.example"


def key(who: str) -> Line:
    return KEYS.get(who, ("apikey", f"{who}-key"))


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running(DOCUMENT) as stack:
        yield stack


@pytest.mark.parametrize(("who", "method", "path", "status", "reason"), ROWS)
def test_the_table(
    stack: Stack, who: str, method: str, path: str, status: str, reason: str
) -> None:
    forged = ("X-Team", "root"), ("X-Forwarded-For", "192.0.2.7")
    answer, seen = stack.send(path, key(who), *forged, host=HOST, method=method)

    assert (answer.status, seen is not None) == (int(status), status == "200")
    if seen is not None:
        assert seen.values("x-team") == [{"shop": b"sales,web", "acme": b"acme"}[who]]
        return
    assert logged(stack, "authz", answer)["reason"] == reason


def test_the_table_is_there() -> None:
    assert len(ROWS) == 9


def test_an_address_behind_a_trusted_proxy(stack: Stack) -> None:
    """This test is the proxy; Envoy appends an address of its own host to what it says."""
    _, seen = stack.send("/orders/1", key("shop"), host=HOST)
    assert seen is not None
    [appended] = seen.values("x-forwarded-for")
    trusting = DOCUMENT.replace("[10.0.0.0/8]", f"[127.0.0.0/8, {appended.decode()}]")
    apply(stack.store_url, trusting)

    def status(*forwarded: str, who: str = "shop") -> int:
        lines = [("x-forwarded-for", value) for value in forwarded]
        return stack.send("/admin/1", key(who), *lines, host=HOST)[0].status

    until(lambda: {status("192.0.2.7") for _ in range(8)} == {200}, "every worker trusts it")
    assert status("192.0.2.7", who="nobody") == 401
    assert status("198.51.100.1, 192.0.2.7") == 200
    assert status("192.0.2.7, 198.51.100.1") == 403
    assert status("192.0.2.7", "198.51.100.1") == 403
    assert status("192.0.2.7, nonsense") == 403
    assert status("192.0.2.7,") == 403
