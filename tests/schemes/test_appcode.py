"""appcode: where a code is, what it opens, and that the upstream does not see it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz import forms
from authz.denials import Foreign
from authz.references import Secret
from authz.schemes import places
from authz.schemes.appcode import AppCode, AppCodeDraft
from authz.signing import simple
from authz.values import Allow, Credential, Denied, Place, Request
from tests.support.alibaba import VAULT, code_of, message_of
from tests.support.gateway import Gateway, ask, upstream
from tests.support.memory import Memory
from tests.support.texts import NAUGHTY, wire_texts

CODE, SECOND = "3F2504E04F8911D39A0C0305E82C3301", "second-appcode"


def store(*codes: str) -> Memory:
    memory = Memory()
    for code in codes:
        index, form = AppCodeDraft(Secret(code)).seal(VAULT, "", None)
        memory.credentials["", "appcode", index] = Credential("app", code, "appcode", form)
    return memory


APP = store(CODE, SECOND)


def authenticate(scheme: AppCode, request: Request) -> str | None:
    """The code that was proven, or the reason of the refusal."""
    try:
        proof = scheme.authenticate(request, APP.within(""))
    except Denied as denied:
        return denied.deny.reason
    return proof.credential.id if proof else None


def setting(app_code: str = "HEADER_QUERY", **fields: Any) -> AppCode:
    return msgspec.convert({"app_code": app_code, **fields}, AppCode)


def bearing(value: str, target: str = "/", **more: Any) -> Request:
    return ask(target, ("Authorization", value), **more)


def test_defaults() -> None:
    """The header alone, and hidden."""
    scheme = msgspec.convert({}, AppCode)

    assert (scheme.app_code, scheme.marketplace) == ("HEADER", False)
    assert (scheme.hide_credentials, scheme.anonymous_consumer, scheme.profile) == (
        True,
        None,
        None,
    )


HEADER, BOTH, OFF = setting("HEADER"), setting(), setting("DISABLE")


@pytest.mark.parametrize(
    ("scheme", "request_", "expected"),
    [
        (HEADER, ask("/"), None),
        (HEADER, bearing(f"APPCODE {CODE}"), CODE),
        (HEADER, bearing(f"appcode {SECOND}"), SECOND),
        (HEADER, bearing(f"APPCODE {CODE.lower()}"), "invalid_app_code"),
        (HEADER, bearing(f"APPCODE  {CODE}"), "invalid_app_code"),
        (HEADER, bearing(f"APPCODE {CODE} "), "invalid_app_code"),
        (HEADER, bearing(f"APPCODE {CODE},{CODE}"), "invalid_app_code"),
        (HEADER, bearing("APPCODE "), "invalid_app_code"),
        (HEADER, bearing("APPCODE"), "invalid_app_code"),
        (HEADER, bearing("APPCODE " + "x" * 100_000), "invalid_app_code"),
        (HEADER, bearing(f"APPCODE\t{CODE}"), "not_app_code"),
        (HEADER, bearing(f"APPCODE{CODE}"), "not_app_code"),
        (HEADER, bearing(f"Bearer {CODE}"), "not_app_code"),
        (HEADER, bearing(CODE), "not_app_code"),
        (
            HEADER,
            ask("/", ("authorization", f"APPCODE {CODE}"), ("authorization", "Basic eA==")),
            places.DUPLICATE,
        ),
        (HEADER, ask(f"/?AppCode={CODE}"), None),
        (HEADER, bearing(f"APPCODE {CODE}", "/?AppCode=other"), CODE),
        (BOTH, bearing(f"APPCODE {CODE}"), CODE),
        (BOTH, ask(f"/?AppCode={CODE}"), CODE),
        (BOTH, ask(f"/?x=1&aPPcODE={SECOND}&y"), SECOND),
        (BOTH, ask(f"/?%61ppcode={CODE.replace('3', '%33')}"), CODE),
        (BOTH, ask("/?appcode=wrong"), "invalid_app_code"),
        (BOTH, ask("/?appcode="), "invalid_app_code"),
        (BOTH, ask("/?appcode"), "invalid_app_code"),
        (BOTH, ask("/?appcode=%zz"), places.MALFORMED),
        (BOTH, ask("/?appcode=%ff"), places.MALFORMED),
        (BOTH, ask("/?" + "&" * forms.MAX_PARAMETERS), places.TOO_MANY_PARAMETERS),
        (BOTH, ask(f"/?AppCode={CODE}&appcode={CODE}"), places.DUPLICATE),
        (BOTH, ask(f"/?AppCode={CODE}&appcode=bad"), places.DUPLICATE),
        (BOTH, bearing(f"APPCODE {CODE}", f"/?AppCode={CODE}"), places.DUPLICATE),
        # Letters that fold onto ours only in other alphabets: full-width, dotted, mathematical.
        (BOTH, ask("/?%EF%BC%A1ppcode=" + CODE), None),
        (BOTH, ask("/?appco%C4%8Fe=" + CODE), None),
        (BOTH, ask("/?app_code=" + CODE), None),
        # The client's own token for the upstream, and the code in the query.
        (BOTH, bearing("Bearer x", f"/?AppCode={CODE}"), CODE),
        (BOTH, bearing("Bearer x"), "not_app_code"),
        (OFF, bearing(f"APPCODE {CODE}", f"/?AppCode={CODE}"), None),
        (OFF, bearing("Bearer x"), None),
        (setting("DEFAULT"), bearing(f"APPCODE {CODE}"), None),
        (setting("DEFAULT", marketplace=True), bearing(f"APPCODE {CODE}"), CODE),
        (setting("DEFAULT", marketplace=True), ask(f"/?AppCode={CODE}"), None),
    ],
)
def test_decisions(scheme: AppCode, request_: Request, expected: str | None) -> None:
    """One code in one place, or none; everything doubtful is refused."""
    assert authenticate(scheme, request_) == expected


def test_another_scheme_may_look() -> None:
    """A token of another scheme is no refusal where there are others."""
    with pytest.raises(Foreign):
        HEADER.authenticate(bearing("Bearer x"), APP.within(""))


def test_a_code_belongs_to_its_tenant() -> None:
    with pytest.raises(Denied):
        HEADER.authenticate(bearing(f"APPCODE {CODE}"), APP.within("other"))


@pytest.mark.parametrize(
    ("profile", "statuses"), [("api7", (403, 403)), ("alibaba", (400, 400)), (None, (403, 403))]
)
def test_answers(profile: str | None, statuses: tuple[int, int]) -> None:
    """The vendor's codes and words, in headers."""
    scheme = setting("HEADER", profile=profile)
    missing, invalid = scheme.missing(), scheme.invalid()

    assert (missing.status, invalid.status) == statuses
    assert (missing.reason, code_of(missing)) == ("missing_app_code", "A400MA")
    assert (invalid.reason, code_of(invalid)) == ("invalid_app_code", "A400AC")
    assert (message_of(missing), message_of(invalid)) == ("Need authorization", "Invalid AppCode")
    assert missing.body == invalid.body == ""


def test_a_switched_off_option_says_so() -> None:
    """To the operator; the client sees what it sees without a code."""
    off = OFF.missing()

    assert (off.reason, code_of(off)) == ("app_code_disabled", "A400MA")


def test_the_answer_has_the_requests_id() -> None:
    request = bearing("APPCODE wrong")
    with pytest.raises(Denied) as caught:
        HEADER.authenticate(msgspec.structs.replace(request, id="0" * 32), APP.within(""))

    told = dict(caught.value.deny.headers)
    assert told["x-ca-request-id"] == "00000000-0000-0000-0000-000000000000"


def test_every_reason_is_listed() -> None:
    """What the manual lists is what may be said."""
    asked = [ask("/?appcode=%zz"), bearing("Bearer x"), bearing("APPCODE x")]
    said = {authenticate(BOTH, request) for request in asked}

    assert said | {BOTH.missing().reason, OFF.missing().reason} <= set(AppCode.reasons)


def test_notes_show_no_code() -> None:
    """Where it was and how long it is."""
    [(what, text)] = BOTH.notes(ask(f"/?AppCode={CODE}"))

    assert (what, text) == ("AppCode", "32 characters in query")
    assert BOTH.notes(bearing(f"APPCODE {CODE}"))[0][1] == "32 characters in header authorization"
    assert BOTH.notes(ask(f"/?AppCode={CODE}&appcode=x")) == (
        ("AppCode", places.REASONS[places.DUPLICATE]),
    )
    assert BOTH.notes(ask("/")) == OFF.notes(bearing(f"APPCODE {CODE}")) == ()


# -- hiding ----------------------------------------------------------------------------------------

DOCUMENT = f"""
services:
  - id: api
    auth: {{appcode: {{app_code: HEADER_QUERY}}}}
  - id: shown
    hosts: [shown.test]
    auth: {{appcode: {{app_code: HEADER_QUERY, hide_credentials: false}}}}
consumers:
  - username: app
    credentials: [{{id: code, appcode: {{code: "{CODE}"}}}}]
"""


@pytest.mark.parametrize(
    ("request_", "target", "authorization"),
    [
        (bearing(f"APPCODE {CODE}"), "/", ()),
        (ask(f"/?AppCode={CODE}&x=1"), "/?x=1", ()),
        (ask(f"/?x=1&%41PPcode={CODE}"), "/?x=1", ()),
        (bearing("Bearer mine", f"/?AppCode={CODE}"), "/", ("Bearer mine",)),
    ],
)
def test_the_upstream_sees_no_code(
    request_: Request, target: str, authorization: tuple[str, ...]
) -> None:
    """In no spelling; what is the upstream's own arrives."""
    decision = Gateway(DOCUMENT).decide(request_)

    assert isinstance(decision, Allow)
    seen, headers = upstream(request_, decision)
    assert seen == target
    assert headers.get("authorization", ()) == authorization


def test_hiding_can_be_switched_off() -> None:
    request = ask(f"/?AppCode={CODE}", host="shown.test")
    decision = Gateway(DOCUMENT).decide(request)

    assert isinstance(decision, Allow)
    assert upstream(request, decision)[0] == f"/?AppCode={CODE}"


def test_a_code_is_hidden_also_where_it_is_not_taken() -> None:
    """It may open another API of the same app."""
    request = bearing(f"Bearer x, APPCODE {CODE}", f"/?AppCode={CODE}")

    for scheme in (HEADER, OFF):
        assert scheme.hidden(request, proven=False) == (Place("authorization", "AppCode"),)


# -- properties ------------------------------------------------------------------------------------


@given(wire_texts() | st.sampled_from(NAUGHTY))
def test_only_the_code_itself_opens(sent: str) -> None:
    """Whatever else is sent, it is refused and never crashes."""
    assert authenticate(BOTH, bearing(f"APPCODE {sent}")) == "invalid_app_code"
    for target in (f"/?appcode={sent}", f"/?{sent}"):
        assert authenticate(BOTH, ask(target)) not in (CODE, SECOND)


@given(st.sampled_from([CODE, SECOND]), st.sampled_from([None, "AppCode", "APPCODE", "appcode"]))
def test_what_the_signer_makes_is_proven(code: str, query: str | None) -> None:
    made = simple.appcode(code, query=query)
    target = "/?" + "&".join(f"{name}={value}" for name, value in made.query)

    assert authenticate(BOTH, ask(target, *made.headers)) == code
