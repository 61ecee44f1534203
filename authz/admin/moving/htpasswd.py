"""Apache's htpasswd files: users, and hashes of their passwords.

Facts: https://httpd.apache.org/docs/current/misc/password_encryptions.html (the forms of a hash).
"""

from __future__ import annotations

import re

from authz.admin.moving.names import name_of
from authz.admin.moving.people import People
from authz.admin.moving.report import Report
from authz.admin.moving.wanted import Plain
from authz.hashes import check_password_hash

_LINE = re.compile(r"[^:#\s][^:]*:\S+")
_FORMS = (
    ("$2", "bcrypt"),
    ("$apr1$", "MD5 (apr1)"),
    ("$1$", "MD5"),
    ("{SHA}", "SHA-1"),
    ("{SSHA}", "salted SHA-1"),
    ("$5$", "SHA-256 (crypt)"),
    ("$6$", "SHA-512 (crypt)"),
)
#: A file of users has no service; one that asks for their passwords.
SERVICE = "site"


def is_one(written: str) -> bool:
    """Whether every line is `user:hash`, a comment or empty."""
    lines = [line for line in written.splitlines() if line.strip() and not line.startswith("#")]
    return bool(lines) and all(_LINE.fullmatch(line.strip()) for line in lines)


def move(written: str, report: Report) -> Plain:
    """A gateway document."""
    people = People(report, "api7", name_of)
    for number, line in enumerate(written.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            _user(line.strip(), number, people, report)
    report.changed((), f"the service {SERVICE}, for every host and path: say which are meant")
    return {
        "services": [{"id": SERVICE, "auth": {"basic-auth": {}}}],
        "consumers": people.consumers(),
    }


def _user(line: str, number: int, people: People, report: Report) -> None:
    at = ("line", number)
    name, _, hashed = line.partition(":")
    consumer = people.add(at, name)
    if consumer is None:
        return
    try:
        check_password_hash(hashed)
    except ValueError as error:
        form = next((what for start, what in _FORMS if hashed.startswith(start)), "")
        why = f"{form} cannot be verified here" if form else f"the password: {error}"
        report.left(
            at,
            f"{why}; give them another one: "
            f"authz credential issue {consumer['username']} basic-auth",
        )
        return
    fields = {"username": name, "password": {"hash": hashed}}
    people.credential(at, consumer, "htpasswd", "basic-auth", fields)
