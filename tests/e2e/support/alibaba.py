"""A gateway for the clients of Alibaba Cloud API Gateway."""

from __future__ import annotations

from contextlib import AbstractContextManager

from tests.e2e.support.bootstraps import with_bodies
from tests.e2e.support.stack import Stack, running

KEY, SECRET, CODE = "203753385", "s3cr3t-AppSecret-1", "3F2504E04F8911D39A0C0305E82C3301"
DOCUMENT = f"""
services:
  - id: api
    auth: {{any: [{{digest: {{}}}}, {{appcode: {{app_code: HEADER_QUERY}}}}]}}
    routes:
      - {{id: ours, match: {{path: /v1/*}}}}
      - id: theirs
        match: {{path: /vendor/*}}
        auth: {{digest: {{profile: alibaba, signature_methods: [HmacSHA256, HmacSHA1]}}}}
consumers:
  - username: app
    credentials:
      - {{id: key, digest: {{app_key: "{KEY}", app_secret: "{SECRET}"}}}}
      - {{id: code, appcode: {{code: "{CODE}"}}}}
"""


def gateway() -> AbstractContextManager[Stack]:
    """Two workers behind an Envoy that shows them the bodies of requests. `/v1/` is guarded by our
    defaults, `/vendor/` by the vendor's rules."""
    return running(DOCUMENT, bootstrap=with_bodies)
