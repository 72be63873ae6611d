"""What schemathesis needs to know of pgusher: how to log in, and what every refusal looks like."""

import json
import os
import urllib.request
import uuid

import schemathesis


@schemathesis.auth(refresh_interval=1)
class Admin:
    """The primary admin of a sample tenant, logged in anew after a session was ended."""

    def get(self, case, context):
        body = {"email": os.environ["PGUSHER_EMAIL"], "password": os.environ["PGUSHER_PASSWORD"]}
        request = urllib.request.Request(
            os.environ["PGUSHER_HTTP"] + "/api/auth/login",
            data=json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["accessToken"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(context, case, kwargs):
    """A key that was used with another body is refused, rightly: each body gets its own."""
    headers = case.headers or {}
    key = headers.get("Idempotency-Key")
    if isinstance(key, str) and 0 < len(key) < 200:
        headers["Idempotency-Key"] = key + uuid.uuid4().hex
    # Which regions there are is the installation's: one made up is refused, rightly.
    if isinstance(case.body, dict) and isinstance(case.body.get("region"), str):
        del case.body["region"]


@schemathesis.check
def every_refusal_is_a_problem(context, response, case):
    """RFC 9457, whatever refused it: a handler, the router, a limit."""
    if response.status_code < 400:
        return
    kind = response.headers.get("content-type", [""])[0]
    assert kind.startswith("application/problem+json"), f"{response.status_code} as {kind!r}"
    if case.method == "HEAD":
        return
    problem = response.json()
    assert problem["status"] == response.status_code, problem
    assert problem["type"].startswith("urn:pgusher:") and problem["title"], problem
