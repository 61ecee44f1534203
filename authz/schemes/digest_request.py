"""What a signed request claims: read under caps, and not yet believed."""

from __future__ import annotations

import hmac

from msgspec import Struct

from authz import forms
from authz.forms import Pairs
from authz.schemes import digest_refusals as refusals
from authz.schemes import places
from authz.schemes.alibaba import Refusal, Refused
from authz.signing import digest
from authz.values import Request

MAX_NAMES = 100
KEY, SIGNATURE = "x-ca-key", "x-ca-signature"
NAMES, METHOD = "x-ca-signature-headers", "x-ca-signature-method"
TIMESTAMP, NONCE, STAGE = "x-ca-timestamp", "x-ca-nonce", "x-ca-stage"


class Claim(Struct, frozen=True):
    """A signature, and what it is said to cover. `strings` are the strings to sign in the order in
    which to try them, the documented one first; `names` are as the client wrote them."""

    app_key: str
    signature: str
    algorithm: str
    names: tuple[str, ...]
    query: Pairs
    form: Pairs
    strings: tuple[str, ...]

    def signs(self, name: str) -> bool:
        """Whether a header, given in lower case, is covered."""
        return any(each.lower() == name for each in self.names)

    @property
    def is_ambiguous(self) -> bool:
        """Whether other parameters have the same string to sign: they are decoded in there, and
        only the first of a name is."""
        parameters = self.query + self.form
        names = {name for name, _ in parameters}
        return len(names) < len(parameters) or not all(
            (name or value) and "=" not in name and "&" not in name + value
            for name, value in parameters
        )


def read(request: Request) -> Claim | None:
    """None when nobody claims to have signed. Raises `Refused`."""
    if KEY not in request.headers and SIGNATURE not in request.headers:
        return None
    _require_single(request)
    app_key = _given(request, KEY, refusals.MISSING_APP_KEY)
    signature = _given(request, SIGNATURE, refusals.MISSING_SIGNATURE)
    names = _names(header(request, NAMES) or "")
    own = {name.lower() for name in names if not name.lower().startswith("x-ca-")} - digest.UNLISTED
    query = _pairs(_exact(request.query, request))
    form = _pairs(_form(request))

    def value(name: str) -> str | None:
        found = header(request, name)
        # Without exact headers a comma may be Envoy's join of two lines.
        if found and name in own and "," in found and not request.headers.exact:
            raise Refused(refusals.DUPLICATE_HEADER)
        return found

    algorithm = value(METHOD)
    strings = digest.strings_to_sign(request.method, request.path, query, form, value, names)
    return Claim(
        app_key,
        signature,
        digest.DEFAULT if algorithm is None else algorithm,
        names,
        query,
        form,
        tuple(strings),
    )


def header(request: Request, name: str) -> str | None:
    """The one value of a header. Raises `Refused` where there may have been another."""
    values = request.headers.get(name)
    if len(values) > 1:
        raise Refused(refusals.DUPLICATE_HEADER)
    return _exact(values[0], request) if values else None


def _require_single(request: Request) -> None:
    for name in request.headers:
        if name.startswith("x-ca-"):
            header(request, name)


def _exact(text: str, request: Request) -> str:
    # Where Envoy does not send raw bytes it writes `!` for those that are not UTF-8: several
    # requests would have one signature.
    if not request.headers.exact and "!" in text:
        raise Refused(refusals.INEXACT)
    return text


def _given(request: Request, name: str, refusal: Refusal) -> str:
    value = header(request, name)
    if not value:
        raise Refused(refusal)
    return value


def _names(value: str) -> tuple[str, ...]:
    if value.count(",") >= MAX_NAMES:
        raise Refused(refusals.BAD_NAMES)
    names = tuple(name.strip(" \t") for name in value.split(",")) if value.strip(" \t") else ()
    different = {name.lower() for name in names}
    # Any other text could pass for a line of its own.
    if len(different) < len(names) or not all(map(digest.TOKEN.fullmatch, names)):
        raise Refused(refusals.BAD_NAMES)
    return names


def _pairs(text: str) -> Pairs:
    try:
        return forms.pairs(text)
    except forms.TooMany:
        raise Refused(refusals.TOO_MANY_PARAMETERS) from None
    except forms.Malformed:
        raise Refused(refusals.MALFORMED_PARAMETERS) from None


# -- the body --------------------------------------------------------------------------------------


def _is_form(request: Request) -> bool:
    content_type = header(request, "content-type") or ""
    if not request.headers.exact and "," in content_type:
        raise Refused(refusals.DUPLICATE_HEADER)  # two lines that Envoy joined
    return forms.media_type(content_type) == forms.FORM_TYPE


def _form(request: Request) -> str:
    """Its parameters are signed like those of the query."""
    return _body(request).decode("utf-8", "surrogateescape") if _is_form(request) else ""


def _body(request: Request) -> bytes:
    """All of it, as sent. Raises `Refused` where Envoy did not show that."""
    body = request.body
    if body is None:
        if places.has_body(request):
            raise Refused(refusals.BODY_NOT_SHOWN)
        return b""
    if not body.complete:
        raise Refused(refusals.BODY_INCOMPLETE)
    if not body.exact:
        raise Refused(refusals.INEXACT)
    return body.data


def require_covered(request: Request, *, md5_required: bool) -> None:
    """Refuse a body that is not the one that Content-MD5 speaks of, which is signed always; and
    one that nothing covers, if that is `md5_required`. A form is covered by itself."""
    md5 = header(request, "content-md5")
    if md5:
        body = _body(request)
        wanted = digest.content_md5(body).encode()
        if not body or not hmac.compare_digest(wanted, md5.encode("utf-8", "surrogateescape")):
            raise Refused(refusals.CONTENT_MD5_MISMATCH)
    elif md5_required and not _is_form(request) and _body(request):
        raise Refused(refusals.CONTENT_MD5_MISSING)
