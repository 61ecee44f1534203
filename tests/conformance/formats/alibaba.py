"""Alibaba Cloud's AppCode and AppKey/AppSecret requests. Neither scheme is there yet."""

from __future__ import annotations

from tests.conformance.case import Exchange, Inexpressible, Mode, Plain


def recognises(case: Plain) -> bool:
    return {"api", "now_ms", "request", "expect"} <= set(case)


def group(case: Plain) -> str:
    return "digest" if _is_signed(case) else "appcode"


def _is_signed(case: Plain) -> bool:
    names = {str(name).lower() for name, _ in case["request"].get("headers", ())}
    return any(name.startswith("x-ca-") for name in names)


def translate(case: Plain, shared: Plain, mode: Mode) -> Exchange:
    scheme = "digest" if _is_signed(case) else "appcode"
    raise Inexpressible(f"scheme {scheme} (Alibaba) is not supported yet")
