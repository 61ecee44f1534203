"""No allow without proof, no foreign identity upstream: whatever is sent, at any time."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote

from hypothesis import example, given, settings
from hypothesis import strategies as st

from authz.values import Allow, Request
from tests.support.gateway import Gateway, ask, upstream
from tests.support.known import DOCUMENT, HOUR, NOON, PEOPLE, WAYS

GATEWAYS = {p: Gateway(DOCUMENT.replace("PROFILE", p)) for p in ("api7", "apisix-3.18")}
#: host: (tenant, schemes that must each be satisfied, of which one of a set suffices, anonymous).
POLICIES: dict[str, tuple[str, list[set[str]], str | None]] = {
    "key": ("", [{"key", "cookie"}], None),
    "basic": ("", [{"basic"}], None),
    "any": ("", [{"key", "basic"}], None),
    "all": ("", [{"key"}, {"basic"}], None),
    "guests": ("", [{"key"}], "guest"),
    "ghosts": ("", [{"basic"}], "dead"),
    "tenant": ("t", [{"key", "basic"}], None),
    "nobody": ("", [set()], None),
    "elsewhere": ("", [set()], None),
}


# -- the reference: what a request could prove at all ----------------------------------------------


def sent(request: Request, schemes: set[str]) -> Iterator[str]:
    """Every secret that stands where one of the schemes may look, in any reading."""
    if "key" in schemes:
        yield from request.headers.get("apikey")
        yield from (v for k, v in parse_qsl(request.query) if k == "apikey")
    if "cookie" in schemes:
        for line in request.headers.get("cookie"):
            for value in re.findall(r"(?:^|[;,])[ \t]*apikey[ \t]*=([^;]*)", line):
                yield from (value.strip(" \t"), value.partition(",")[0].strip(" \t"))
    if "basic" in schemes:
        for value in request.headers.get("authorization"):
            found = re.fullmatch(r"(?i)basic[ \t]([A-Za-z0-9+/]*)(?:=.*)?", value)
            if found:
                body = found[1][: len(found[1]) - (len(found[1]) % 4 == 1)]
                pair = base64.b64decode(body + "=" * (-len(body) % 4)).decode(errors="replace")
                yield ":".join(part.strip() for part in pair.split(":", 1))


def provable(request: Request, tenant: str, schemes: set[str]) -> set[tuple[str, str | None]]:
    """(consumer, credential id) of every live credential that stands in the request."""
    secrets = set(sent(request, schemes))
    return {
        (way.consumer, way.id)
        for way in WAYS
        if way.tenant == tenant
        and way.secret in secrets
        and way.begins <= request.at < way.ends
        and PEOPLE[way.consumer].begins <= request.at < PEOPLE[way.consumer].ends
    }


def admissible(request: Request, *, tolerant: bool) -> set[tuple[str, str | None]]:
    """Everyone as whom this request may be let in; `*` for an anonymous consumer's credential."""
    tenant, groups, anonymous = POLICIES[request.host]
    proofs = [provable(request, tenant, group) for group in groups]
    names = set.intersection(*({name for name, _ in proof} for proof in proofs))
    result = {(name, way) for proof in proofs for name, way in proof if name in names}
    person = PEOPLE.get(anonymous or "")
    # Where something was sent, only APISIX's profiles take the caller for a guest.
    silent = not any(list(sent(request, group)) for group in groups)
    if anonymous and person and person.begins <= request.at < person.ends and (silent or tolerant):
        result.add((anonymous, "*"))
    return result


# -- requests --------------------------------------------------------------------------------------

WRONG = ["nope", "", "alice-ke", "alice-key ", "al", "al:p"]


def _basic(pair: str) -> str:
    return base64.b64encode(pair.encode()).decode()


_SECRET = st.sampled_from([*sorted({way.secret for way in WAYS}), *WRONG])
_AUTHORIZATION = st.one_of(
    st.builds("{} {}".format, st.sampled_from(["Basic", "basic", "Bearer"]), _SECRET.map(_basic)),
    _SECRET.map(lambda pair: f"Basic {_basic(pair).rstrip('=')}"),
    _SECRET.map(lambda pair: f"Basic {_basic(pair + ' ')}"),
    _SECRET,
)
_COOKIE = st.builds(
    "{}{}={}{}".format,
    st.sampled_from(["", "a=1; ", "a=1,"]),
    st.sampled_from(["apikey", "APIKEY", "a", " apikey "]),
    _SECRET,
    st.sampled_from(["", "; b", ";"]),
)
_PROTECTED = st.tuples(
    st.sampled_from(
        [
            *(
                "x-consumer-username",
                "X-Consumer-Groups",
                "x-consumer-plan",
                "x-consumer-custom-id",
            ),
            *("x-credential-identifier", "x-consumer-other", "x-consumer-a_b", "x-credential-"),
        ]
    ),
    st.sampled_from(["root", "alice", ""]),
)
_LOOK_ALIKES = st.tuples(st.sampled_from(["x_consumer_username", "x.consumer-x"]), st.just("root"))
_LINES = st.lists(
    st.tuples(st.sampled_from(["apikey", "ApiKey", "api-key", "x"]), _SECRET)
    | st.tuples(st.just("authorization"), _AUTHORIZATION)
    | st.tuples(st.just("cookie"), _COOKIE)
    | _PROTECTED,
    max_size=4,
)
_QUERY = st.lists(
    st.builds(
        "{}={}".format,
        st.sampled_from(["apikey", "%61pikey", "APIKEY", "a", "apikey%00", "apikey[]"]),
        _SECRET.map(lambda text: text.replace(" ", "+")),
    )
    | st.sampled_from(["apikey", "&", "%zz=1"]),
    max_size=2,
).map("&".join)
_TIMES = st.sampled_from([0.0, NOON - HOUR - 1, NOON - HOUR, NOON + HOUR - 1, NOON + HOUR])


def _good(secret: str) -> tuple[str, str]:
    return ("authorization", f"Basic {_basic(secret)}") if ":" in secret else ("apikey", secret)


@st.composite
def _requests(draw: st.DrawFn) -> Request:
    """Half of them with a good credential among the rest, so that many are allowed."""
    lines, query, host = draw(_LINES), draw(_QUERY), draw(st.sampled_from(sorted(POLICIES)))
    if draw(st.booleans()):
        way = draw(st.sampled_from(WAYS))
        host = "tenant" if way.tenant else draw(st.sampled_from(["any", "any", host]))
        lines, query = draw(st.lists(_PROTECTED, max_size=4)), draw(st.sampled_from(["", query]))
        if ":" in way.secret or draw(st.booleans()):
            lines = [_good(way.secret), *lines]
        else:
            query = f"a=1&apikey={way.secret}&b"
    spoof = draw(st.lists(_LOOK_ALIKES, max_size=1)) if draw(st.integers(0, 9)) == 9 else []
    at, exact = draw(st.just(NOON) | _TIMES), draw(st.booleans())
    return ask(f"/x?{query}", *lines, *spoof, host=host, at=at, exact=exact)


_REQUESTS = _requests()


@settings(max_examples=400)
@given(_REQUESTS, st.sampled_from(sorted(GATEWAYS)))
@example(ask("/x", ("apikey", "alice-key"), ("x-consumer-username", "root"), host="key"), "api7")
@example(ask("/x?apikey=alice-key", ("apikey", "bob-key"), host="key"), "api7")
@example(ask("/x", ("authorization", "Basic YWw6cDp3"), ("apikey", "bob-key"), host="all"), "api7")
@example(ask("/x", ("apikey", "nope"), host="guests"), "api7")
def test_no_allow_without_proof_and_no_foreign_identity(request_: Request, profile: str) -> None:
    """An allow names a live credential that stands in the request, as a reference reads it; and
    of all headers that speak of callers the upstream gets exactly that caller's."""
    decision = GATEWAYS[profile].decide(request_)
    if not isinstance(decision, Allow):
        return
    identity = decision.identity
    name, credential = identity.consumer.username, identity.credential
    way = "*" if credential is None else credential.id if credential.named else None

    assert (name, way) in admissible(request_, tolerant=profile != "api7")
    _, headers = upstream(request_, decision)
    told = {
        header: values
        for header, values in headers.items()
        if re.sub(r"[^a-z0-9]", "-", header).startswith(("x-consumer-", "x-credential-"))
    }
    expected = {"x-consumer-username": name, **PEOPLE[name].headers}
    if way not in (None, "*"):
        expected["x-credential-identifier"] = str(way)
    assert told == {header: (value,) for header, value in expected.items()}
    assert len({header for header, _ in decision.set}) == len(decision.set)
    assert not {header for header, _ in decision.set} & set(decision.remove)


@settings(max_examples=200)
@given(_REQUESTS)
@example(ask("/x?a=1&apikey=alice-key", host="key"))
@example(ask("/x", ("cookie", "a=1; apikey=alice-key; b"), host="key"))
def test_what_was_to_be_hidden_is_nowhere(request_: Request) -> None:
    """Under the default profile the upstream sees the proven key under no spelling of its name."""
    decision = GATEWAYS["api7"].decide(request_)
    if not isinstance(decision, Allow) or request_.host not in ("key", "any"):
        return
    target, headers = upstream(request_, decision)
    names = [unquote(piece.partition("=")[0]) for piece in target.partition("?")[2].split("&")]

    assert decision.identity.credential is not None
    if decision.identity.scheme == "key-auth":
        assert "apikey" not in [*(name.lower() for name in names), *headers]
        if request_.host == "key":
            cookies = ";".join(headers.get("cookie", ())).lower().split(";")
            assert "apikey" not in [cookie.partition("=")[0].strip() for cookie in cookies]
    else:
        assert "authorization" not in headers


def test_the_reference_lets_everybody_in_who_should_be() -> None:
    """Every live credential is allowed where it is sent alone, so the invariants say something."""
    allowed = set()
    for way in WAYS:
        for profile, gateway in GATEWAYS.items():
            request = ask("/x", _good(way.secret), host="tenant" if way.tenant else "any", at=NOON)
            expected = bool(admissible(request, tolerant=False))
            assert isinstance(gateway.decide(request), Allow) is expected, (way, profile)
            allowed.add(way.id)
    assert len(allowed) == len(WAYS)
