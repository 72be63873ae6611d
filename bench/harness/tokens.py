"""Tenant tokens, signed here: a thousand tenants need a thousand of them."""

import base64
import hashlib
import hmac
import json
import time
import uuid

KEY = "bench"


def _encoded(data):
    if not isinstance(data, bytes):
        data = json.dumps(data, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def mint(secret, tenant, role="app", lifetime=6 * 3600):
    """An HS256 access token as pgusher's own signer makes it."""
    now = int(time.time())
    claims = {
        "iss": "pgusher", "aud": "pgusher", "sub": "bench", "tenantId": tenant, "role": role,
        "iat": now, "nbf": now, "exp": now + lifetime, "jti": uuid.uuid4().hex,
    }
    signed = _encoded({"alg": "HS256", "typ": "tdb+jwt", "kid": KEY}) + b"." + _encoded(claims)
    mac = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + _encoded(mac)).decode()
