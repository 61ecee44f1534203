"""An HMAC client after API7's manual: prints curl's options for GET /headers as john-key.

Standard library alone, and nothing of this project: what it signs, others must verify.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime

KEY_ID, SECRET_KEY = "john-key", b"john-hmac-key"
METHOD, PATH, ALGORITHM = "GET", "/headers", "hmac-sha256"


def headers(at: datetime) -> dict[str, str]:
    """Date and Authorization: the key id, the request line and the date, each on a line."""
    date = f"{at:%a, %d %b %Y %H:%M:%S} GMT"
    lines = f"{KEY_ID}\n{METHOD} {PATH}\ndate: {date}\n"
    signature = base64.b64encode(hmac.new(SECRET_KEY, lines.encode(), hashlib.sha256).digest())
    parts = {
        "keyId": KEY_ID,
        "algorithm": ALGORITHM,
        "headers": "@request-target date",
        "signature": signature.decode(),
    }
    fields = ",".join(f'{name}="{value}"' for name, value in parts.items())
    return {"Date": date, "Authorization": f"Signature {fields}"}


def options(found: dict[str, str]) -> str:
    """For curl's `-K -`: one header a line."""
    quoted = (value.replace('"', '\\"') for value in found.values())
    lines = zip(found, quoted, strict=True)
    return "\n".join(f'header = "{name}: {value}"' for name, value in lines)


if __name__ == "__main__":
    print(options(headers(datetime.now(UTC))))
