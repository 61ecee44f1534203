"""Strings that broke somebody's software, as consumers: from the document to Envoy's answer."""

from __future__ import annotations

from urllib.parse import unquote

from authz.document import decode
from authz.plain import DocumentError
from authz.server import wire
from tests.support.gateway import Gateway, ask
from tests.support.people import basic, key
from tests.support.texts import NAUGHTY

SERVICE = {
    "id": "s",
    "auth": {"any": [{"key-auth": {"hide_credentials": True}}, {"basic-auth": {}}]},
}


def _user(text: str) -> str:
    """No user name of Basic holds a colon (RFC 7617 section 2)."""
    return text.replace(":", ";")


def _gateway(text: str) -> Gateway | None:
    """Where this is a consumer's name, label, key, user name and password, if it may be."""
    credentials = [
        {"key-auth": {"key": text}},
        {"basic-auth": {"username": _user(text), "password": text}},
    ]
    consumer = {"username": text, "labels": {"custom_id": text}, "credentials": credentials}
    try:
        return Gateway(decode({"services": [SERVICE], "consumers": [consumer]}))
    except (DocumentError, ValueError):
        return None


def test_who_can_be_written_down_is_let_in() -> None:
    """By key and by password; and the upstream is told who they are, so that it can be read."""
    refused = []
    for text in NAUGHTY:
        gateway = _gateway(text)
        if gateway is None:
            refused.append(text)
            continue
        escaped = "".join(f"%{byte:02X}" for byte in text.encode())
        lines = (key(text), basic(f"{_user(text)}:{text}"))
        for request in (ask(f"/?apikey={escaped}"), *(ask("/", line) for line in lines)):
            answer = wire.write(gateway.verdict(request))
            told = dict(answer.dynamic_metadata.items())
            sent = {o.header.key: o.header.value for o in answer.ok_response.headers}
            assert (told["reason"], told["consumer"]) == ("allowed", text)
            assert unquote(sent["x-consumer-username"]) == text
            assert unquote(sent["x-consumer-custom-id"]) == text
    fit = [text for text in refused if text.isprintable() and text == text.strip()]
    assert [text for text in fit if 0 < len(text) <= 256] == []


def test_a_naughty_key_is_nobodys() -> None:
    """As keys, passwords and user names of strangers they are denied, one and all."""
    gateway = _gateway("known")
    assert gateway is not None
    for text in NAUGHTY:
        for line in (key(text), basic(f"{text}:{text}"), ("authorization", f"Basic {text}")):
            answer = wire.write(gateway.verdict(ask("/", line)))
            assert answer.denied_response.status.code == 401
