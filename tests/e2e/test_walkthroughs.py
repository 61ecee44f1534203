"""The walk-throughs of the gateways' manuals: their curl lines, typed into a shell against
`authz up`, with their statuses and bodies.

One thing differs: the manuals' gateways listen on port 9080, here it is a port that is free.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt
import pytest

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="curl is not installed, and its lines are what is tested"
)

DOCUMENTS = Path(__file__).parents[2] / "docs" / "walkthroughs"
OK, UNAUTHORIZED = "HTTP/1.1 200 OK", "HTTP/1.1 401 Unauthorized"
FORBIDDEN = "HTTP/1.1 403 Forbidden"
FREE = ("--port", "0", "--redis-port", "0", "--metrics-port", "0")

CLIENT = Path(__file__).parent / "support" / "hmac_client.py"


def expired_token() -> str:
    """What john's token is after its 30 seconds."""
    secret = "a-secret-that-is-as-long-as-its-hash"
    return jwt.encode({"key": "john-jwt-key", "exp": 1_700_000_000}, secret, "HS256")


def johns_token() -> str:
    """The API Open Platform's example: its claims, and its secret of six bytes. Its own expiry is
    long past, so this one has another."""
    claims = {"sub": "1234567890", "iss": "apinto", "name": "John Doe", "iat": 1516239022}
    claims["exp"] = 4_102_444_800
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so says PyJWT of the secret, too
        return jwt.encode(claims, "apinto", "HS256")


#: Half of a step: a token for john, from the gateway itself.
SIGN = 'jwt_token=$(curl -s "http://127.0.0.1:9080/apisix/plugin/jwt/sign?key=john-jwt-key")'
#: Each document's steps: the line, the first line of the answer, the body if the manual has one.
STEPS = {
    "key-auth.yaml": (
        (
            'curl -i "http://127.0.0.1:9080/ip"',
            UNAUTHORIZED,
            '{"message":"Missing API key found in request"}',
        ),
        (
            'curl -i "http://127.0.0.1:9080/ip" -H "apikey: wrongkey"',
            UNAUTHORIZED,
            '{"message":"Invalid API key in request"}',
        ),
        ('curl -i "http://127.0.0.1:9080/ip" -H "apikey: alice-primary-key"', OK, None),
    ),
    "basic-auth.yaml": (
        (
            'curl -i "http://127.0.0.1:9080/ip"',
            UNAUTHORIZED,
            '{"message":"Missing authorization in request"}',
        ),
        (
            'curl -i "http://127.0.0.1:9080/ip" -u alice:wrong-password',
            UNAUTHORIZED,
            '{"message":"Invalid user authorization"}',
        ),
        ('curl -i "http://127.0.0.1:9080/ip" -u alice:alice-password', OK, None),
    ),
    "jwt-auth.yaml": (
        (
            'curl -i "http://127.0.0.1:9080/ip"',
            UNAUTHORIZED,
            '{"message":"Missing authorization in request"}',
        ),
        (
            f'{SIGN} && curl -i "http://127.0.0.1:9080/ip" -H "Authorization: ${{jwt_token}}"',
            OK,
            None,
        ),
        (f'{SIGN} && curl -i "http://127.0.0.1:9080/ip?jwt=${{jwt_token}}"', OK, None),
        (f'{SIGN} && curl -i "http://127.0.0.1:9080/ip" --cookie "jwt=${{jwt_token}}"', OK, None),
        (
            f'curl -i "http://127.0.0.1:9080/ip" -H "Authorization: {expired_token()}"',
            UNAUTHORIZED,
            '{"message":"failed to verify jwt"}',
        ),
    ),
    "hmac-auth.yaml": (
        (
            'curl -i "http://127.0.0.1:9080/ip"',
            UNAUTHORIZED,
            '{"message":"Missing authorization in request"}',
        ),
        (
            f'{sys.executable} {CLIENT} | curl -i -K - "http://127.0.0.1:9080/headers"',
            OK,
            None,
        ),
    ),
    "appcode.yaml": (
        ('curl -i "http://127.0.0.1:9080/ip"', FORBIDDEN, ""),
        (
            'curl -i "http://127.0.0.1:9080/ip"'
            ' -H "Authorization:APPCODE 3F2504E04F8911D39A0C0305E82C3301"',
            OK,
            None,
        ),
        ('curl -i "http://127.0.0.1:9080/ip?AppCode=3F2504E04F8911D39A0C0305E82C3301"', OK, None),
        ('curl -i "http://127.0.0.1:9080/ip?appcode=3F2504E04F8911D39A0C0305E82C3301"', OK, None),
    ),
    "jwt.yaml": (
        (
            'curl -i "http://127.0.0.1:9080/ip"',
            UNAUTHORIZED,
            '{"message":"missing or invalid token"}',
        ),
        (
            f'curl -i "http://127.0.0.1:9080/ip" -H "Authorization: {johns_token()}"',
            OK,
            None,
        ),
    ),
}
#: None for appcode, which says why in headers of its vendor.
CHALLENGES = {
    "key-auth.yaml": 'apikey realm="key"',
    "basic-auth.yaml": 'Basic realm="basic"',
    "jwt-auth.yaml": 'Bearer realm="jwt"',
    "hmac-auth.yaml": 'hmac realm="hmac"',
    "jwt.yaml": 'Bearer realm="jwt"',
}
CALLERS = {
    "key-auth.yaml": "alice",
    "basic-auth.yaml": "alice",
    "jwt-auth.yaml": "john",
    "hmac-auth.yaml": "john",
    "appcode.yaml": "app",
    "jwt.yaml": "John Doe",
}


@contextmanager
def up(document: Path, state: Path) -> Iterator[int]:
    """`authz up` with this document; the port of its Envoy."""
    command = [sys.executable, "-m", "authz", "up", *FREE, "--workers", "2"]
    with subprocess.Popen(
        [*command, "--document", str(document), "--state-dir", str(state)],
        stdout=subprocess.PIPE,
        text=True,
        env={name: text for name, text in os.environ.items() if not name.startswith("AUTHZ_")},
    ) as process:
        try:
            assert process.stdout
            printed = ""
            while "Ctrl-C stops everything" not in printed:
                line = process.stdout.readline()
                assert line, printed
                printed += line
            yield int(re.findall(r"curl -i http://127\.0\.0\.1:(\d+)/ip", printed)[0])
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()


def typed(line: str, port: int) -> tuple[str, dict[str, str], str]:
    """First line, headers and body of what curl shows."""
    here = line.replace(":9080/", f":{port}/")
    # The progress meter is for terminals; a proxy of the surroundings is nobody's business here.
    env = {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        here, shell=True, capture_output=True, text=True, timeout=30, check=True, env=env
    )
    head, _, body = done.stdout.partition("\n\n")
    first, *lines = head.splitlines()
    headers = dict(each.split(": ", 1) for each in lines)
    return first, {name.lower(): value for name, value in headers.items()}, body


@pytest.mark.parametrize("name", STEPS)
def test_a_walkthrough(name: str, tmp_path: Path) -> None:
    """Every step shows what the manual says."""
    with up(DOCUMENTS / name, tmp_path / "state") as port:
        for line, status, body in STEPS[name]:
            first, headers, text = typed(line, port)
            assert first == status, line
            assert body is None or text == body, line
            assert (headers.get("content-type") == "application/json") is bool(text)
            if status == OK:
                assert json.loads(text)["headers"]["X-Consumer-Username"] == CALLERS[name]
            else:
                assert headers.get("www-authenticate") == CHALLENGES.get(name)
                assert ("x-ca-error-message" in headers) is (name not in CHALLENGES)
