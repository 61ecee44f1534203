"""What clients sign with, what they sign, and the tokens they bear: told to nobody.

Every secret carries a mark. Requests are signed rightly, wrongly, twice and by strangers, while all
is well and while the store is away; then everything that can be read is searched.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import pytest

from authz.signing import (
    sign_appcode,
    sign_digest,
    sign_hmac_auth,
    sign_hmac_legacy,
    sign_jwt,
)
from tests.e2e.support import secrecy
from tests.e2e.support.secrecy import spellings
from tests.e2e.support.stack import Stack, running
from tests.e2e.support.wire import Answer, Line, written
from tests.support.tokens import jwk, pem, private_key, private_pem
from tests.support.waiting import until

#: Nothing but letters that all kinds of credentials may hold.
MARK = "cAnArY5d2b8e"
HMAC, LEGACY = f"hmac-{MARK}-secret", f"legacy-{MARK}-secret"
APP_SECRET, CODE = f"app-{MARK}-secret", f"CODE{MARK}0123456789"
#: As long as its hash, so that it may be one.
JWT_SECRET = f"jwt-{MARK}-" + "0123456789abcdef" * 2
USER_SECRET = f"user-{MARK}-" + "0123456789abcdef" * 2
#: Bytes, which their owner writes down as base64.
RAW_SECRET = b"\x00\xfe\xff" + MARK.encode() + bytes(range(0x80, 0xA0))
WRONG = f"wrong-{MARK}-" + "0123456789abcdef" * 2
KEY, OWNER = private_key("ES256", "secrecy"), private_key("ES256", "owner")

DOCUMENT = f"""
services:
  - {{id: hmac, hosts: [hmac.test], auth: {{hmac-auth: {{nonce_header: X-Nonce}}}}}}
  - {{id: legacy, hosts: [legacy.test], auth: {{hmac-auth: {{profile: apisix-3.9}}}}}}
  - {{id: digest, hosts: [digest.test], auth: {{digest: {{}}}}}}
  - {{id: vendor, hosts: [vendor.test], auth: {{digest: {{profile: alibaba}}}}}}
  - {{id: code, hosts: [code.test], auth: {{appcode: {{app_code: HEADER_QUERY}}}}}}
  - {{id: token, hosts: [token.test], auth: {{jwt-auth: {{store_in_ctx: true}}}}}}
  - {{id: user, hosts: [user.test], auth: {{jwt: {{}}}}}}
  - id: plugin
    hosts: [plugin.test]
    auth: {{jwt-plugin: {{jwk: {json.dumps(jwk("ES256", OWNER))}, consumer: ann}}}}
  - id: signing
    hosts: [sign.test]
    routes: [{{id: sign, match: {{path: /*}}, endpoint: jwt-sign}}]
consumers:
  - username: ann
    credentials:
      - {{id: hmac, hmac-auth: {{key_id: ann-key, secret_key: {HMAC}}}}}
      - {{id: legacy, hmac-auth: {{access_key: ann-legacy, secret_key: {LEGACY}}}}}
      - {{id: digest, digest: {{app_key: "203753385", app_secret: {APP_SECRET}}}}}
      - {{id: code, appcode: {{code: {CODE}}}}}
      - {{id: jwt, jwt-auth: {{key: ann, secret: {JWT_SECRET}}}}}
      - id: raw
        jwt-auth:
          key: ann-raw
          secret: {base64.b64encode(RAW_SECRET).decode()}
          base64_secret: true
      - id: pair
        jwt-auth:
          key: ann-pair
          algorithm: ES256
          public_key: {json.dumps(pem(KEY))}
          private_key: {json.dumps(private_pem(KEY))}
      - {{id: user, jwt: {{username: Ann, algorithm: HS256, secret: {USER_SECRET}}}}}
"""


class Sent(NamedTuple):
    """One request. `status` is what it gets while all is well."""

    host: str
    target: str
    lines: tuple[Line, ...]
    status: int


def signed(host: str, status: int, target: str, made: Any) -> Sent:
    query = "&".join(f"{name}={value}" for name, value in made.query)
    return Sent(host, f"{target}?{query}" if query else target, made.headers, status)


def by_hmac(secret: str, status: int, **how: Any) -> Sent:
    chosen = {"key_id": "ann-key", "nonce_header": "X-Nonce", "secret": secret, **how}
    return signed("hmac.test", status, "/x", sign_hmac_auth("GET", "/x", **chosen))


def by_digest(secret: str, status: int, host: str = "digest.test", **how: Any) -> Sent:
    made = sign_digest("GET", "/x", app_key="203753385", app_secret=secret, **how)
    return signed(host, status, "/x", made)


def by_code(code: str, status: int, **how: Any) -> Sent:
    return signed("code.test", status, "/x", sign_appcode(code, **how))


def by_token(key: Any, status: int, host: str = "token.test", **how: Any) -> Sent:
    claims = how.pop("claims", {"key": "ann"})
    return signed(host, status, "/x", sign_jwt({**claims, "u": str(uuid.uuid4())}, key=key, **how))


def requests() -> Iterator[Sent]:
    """Freshly signed, each time."""
    again = by_hmac(HMAC, 200)
    yield from (again, again._replace(status=401), by_hmac(WRONG, 401))
    yield from (by_hmac(HMAC, 401, key_id="nobody"), by_hmac(HMAC, 401, at=1.0))
    for carrier in ("headers", "authorization"):
        for secret, status in ((LEGACY, 200), (WRONG, 401)):
            how: Any = {"access_key": "ann-legacy", "secret": secret, "carrier": carrier}
            yield signed("legacy.test", status, "/x", sign_hmac_legacy("GET", "/x", **how))
    again = by_digest(APP_SECRET, 200)
    yield from (again, again._replace(status=403), by_digest(WRONG, 403))
    yield from (by_digest(WRONG, 403, "vendor.test"), by_digest(APP_SECRET, 403, at=1.0))
    yield from (by_code(CODE, 200), by_code(CODE, 200, query="appCode"))
    yield from (by_code(f"{CODE}x", 403), by_code(f"{CODE}x", 403, query="AppCode"))
    for how in ({}, {"query": "jwt"}, {"cookie": "jwt"}):
        yield from (by_token(JWT_SECRET, 200, **how), by_token(WRONG, 401, **how))
    yield by_token(RAW_SECRET, 200, claims={"key": "ann-raw"})
    yield by_token(private_pem(KEY), 200, claims={"key": "ann-pair"}, algorithm="ES256")
    yield by_token(JWT_SECRET, 401, lifetime=-9)
    yield by_token(USER_SECRET, 200, "user.test", claims={"name": "Ann"})
    yield by_token(WRONG, 401, "user.test", claims={"name": "Ann"})
    yield by_token(private_pem(OWNER), 200, "plugin.test", algorithm="ES256")
    yield by_token(JWT_SECRET, 401, "plugin.test")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running(DOCUMENT) as stack:
        yield stack


def send(stack: Stack, sent: Sent) -> Answer:
    return stack.send(sent.target, *sent.lines, host=sent.host)[0]


#: What a request says that nobody else may say: tokens and what they are made of, and signatures.
_TOKEN = re.compile(r"[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{27,}={1,2}")


def text_of(sent: Sent) -> str:
    return "\n".join((sent.target, *(value for _, value in sent.lines)))


def borne(sent: Sent) -> set[bytes]:
    """Of a token its claims and its signature: what its header says, all of them say."""
    text = text_of(sent)
    parts = {part for each in _TOKEN.findall(text) for part in each.split(".")[1:]}
    return {each.encode() for each in (*parts, *_SIGNATURE.findall(text))}


def secrets() -> set[bytes]:
    """Those of all credentials, in every spelling."""
    found = {MARK.encode(), *spellings(RAW_SECRET)}
    for each in (HMAC, LEGACY, APP_SECRET, CODE, JWT_SECRET, USER_SECRET, WRONG):
        found |= spellings(each)
    for key in (KEY, OWNER):
        found |= spellings(key.private_numbers().private_value.to_bytes(32, "big"))
        found |= {line.encode() for line in private_pem(key).splitlines()[1:-1] if len(line) > 20}
    return found


def test_no_secret_token_or_signature_is_shown_anywhere(stack: Stack) -> None:
    """Not in an answer, a log, a metric, a command line, the store, or what commands print."""
    sent = list(requests())
    answers = [send(stack, each) for each in sent]
    assert [found.status for found in answers] == [each.status for each in sent]
    issued = issue(stack)
    secrecy.until_logged(stack, "authz", answers)
    stack.valkey.freeze()
    away = list(requests())
    answers += [send(stack, each) for each in away]
    stack.valkey.thaw()
    assert 503 in [found.status for found in answers]
    secrecy.until_logged(stack, "envoy", answers)
    until(lambda: send(stack, by_hmac(HMAC, 200)).status == 200, "the store is back")

    found = {"the store": secrecy.dump(stack)}
    found["commands"] = commands(stack, {(s.host, s.status): s for s in requests()}.values())
    found |= secrecy.places(stack, answers)
    seen = set().union(*(borne(each) for each in (*sent, *away)))
    secrecy.require_absent(found, secrets() | seen | issued)


def issue(stack: Stack) -> set[bytes]:
    """Tokens of the sign endpoint, which its own answers hold and nothing else."""
    found = set()
    for key in ("ann", "ann-raw", "ann-pair"):
        answer, _ = stack.send(f"/apisix/plugin/jwt/sign?key={key}", host="sign.test")
        assert answer.status == 200
        assert MARK.encode() not in answer.everything
        found.update(answer.body.split(b".")[1:])
    return found


def commands(stack: Stack, sent: Collection[Sent]) -> bytes:
    """What an operator is shown of the credentials, and of each of these requests."""
    kinds = ("hmac", "legacy", "digest", "code", "jwt", "raw", "pair", "user")
    found = [secrecy.command(stack, "credential", "list"), secrecy.command(stack, "export")]
    found += [secrecy.command(stack, "credential", "show", "ann", each) for each in kinds]
    for each in sent:
        text = written(each.target, each.lines, host=each.host).decode("latin-1")
        found.append(secrecy.command(stack, "explain", "--file", "-", text=text))
    assert b"string to sign" in b"".join(found)
    secrecy.require_absent({"explain": b"".join(found)}, set().union(*map(borne, sent)))
    return b"\n".join(found)


def test_a_refusal_repeats_the_string_to_sign_and_no_secret(stack: Stack) -> None:
    """The client's own words alone, of which none is the signature or the secret."""
    sent = by_digest(WRONG, 403)
    told = send(stack, sent).header("x-ca-error-message") or ""
    assert re.fullmatch(
        r"Invalid Signature, Server StringToSign:`GET#\*/\*####x-ca-key:203753385"
        r"#x-ca-nonce:[0-9a-f-]{36}#x-ca-signature-method:HmacSHA256#x-ca-timestamp:\d{13}#/x`",
        told,
        re.IGNORECASE,
    )


def test_each_request_has_something_to_hide() -> None:
    """So that a search which finds nothing means something."""
    for sent in requests():
        text = text_of(sent).encode()
        assert [each for each in borne(sent) | secrets() if each in text], sent
