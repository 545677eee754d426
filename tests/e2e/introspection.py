"""Opaque tokens and revocations: token introspection (RFC 7662, RFC 9701)."""

import time

from api import Api
from processes import wait_until
from scenarios import assert_equal, assert_rejected, with_unknown_kid
from servers import AUDIENCE

OPAQUE = AUDIENCE + "opaque"


def introspecting(folder, name, server, audience, secret="rs-secret", algorithms=("RS256",), **settings):
    """Returns an API with introspection. `algorithms=None` means opaque tokens only."""
    values = {"client_id": "rs", "client_secret_env": "E2E_CLIENT_SECRET", "discovered": True, **settings}
    text = {True: "true", False: "false"}
    members = ", ".join(f"{key} = {text.get(value) or repr(value).replace(chr(39), chr(34))}" for key, value in values.items())
    api = Api(folder, name, server.issuer, audience, list(algorithms or ()), extra=f"introspection = {{ {members} }}")
    if algorithms is None:
        configuration = api.path.read_text()
        api.path.write_text(configuration.replace("algorithms = []\n", ""))
    return api.start({"E2E_CLIENT_SECRET": secret})


def opaque_tokens_beside_jwts(folder, server):
    """JWTs are verified locally, opaque tokens are introspected once per ttl, and a revoked one is rejected after it."""
    with introspecting(folder, "introspection", server, [AUDIENCE, OPAQUE], ttl="2s", negative_ttl="1s") as api:
        server.introspections()
        for _ in range(10):
            assert_equal(api.get("/me", server.token()).status, 200, "a JWT")
            assert_rejected(api.get("/me", with_unknown_kid(server.token())), "a forged JWT")
        assert_equal(server.introspections(), 0, "calls for JWTs")
        opaque = server.token_in_format("opaque")
        answers = [api.get("/me", opaque) for _ in range(10)]
        assert_equal({answer.status for answer in answers}, {200}, "an opaque token")
        claims = answers[0].json()
        assert_equal((claims["iss"], claims["client_id"], claims["scope"]), (server.issuer, "svc", "read:orders"), "claims")
        assert_equal(server.introspections(), 1, "calls for ten requests")
        assert_equal(api.get("/orders", opaque, "POST").status, 403, "scope write:orders")
        server.revoke(opaque)
        assert wait_until(lambda: api.get("/me", opaque).status == 401, 5) is not None, "a revoked token"
        for unknown in ("unknown-opaque-token", "x" * 4000):
            assert_rejected(api.get("/me", unknown), "an unknown token")
        log = api.log.read_text()
        assert opaque not in log and "unknown-opaque-token" not in log and "rs-secret" not in log, "no token in the log"


def opaque_tokens_only(folder, server):
    """An issuer with introspection only needs no keys, and rejects a JWT without a call."""
    with introspecting(folder, "opaque-only", server, OPAQUE, algorithms=None, auth="post") as api:
        assert_equal(api.get("/me", server.token_in_format("opaque")).status, 200, "an opaque token")
        server.introspections()
        assert_rejected(api.get("/me", server.token()), "a JWT")
        assert_equal(server.introspections(), 0, "calls for a JWT")
    with introspecting(folder, "other-audience", server, AUDIENCE, algorithms=None) as api:
        assert_rejected(api.get("/me", server.token_in_format("opaque")), "a token for another audience")


def signed_answers(folder, server):
    """Answers that the server signs are verified with its keys, also after a rotation."""
    with introspecting(folder, "signed", server, OPAQUE, signed=True, ttl="1s", negative_ttl="1s") as api:
        opaque = server.token_in_format("opaque")
        assert_equal(api.get("/me", opaque).status, 200, "a signed answer")
        server.rotate("add")
        assert_equal(api.get("/me", server.token_in_format("opaque")).status, 200, "an answer with a new key")
        server.revoke(opaque)
        assert wait_until(lambda: api.get("/me", opaque).status == 401, 5) is not None, "a revoked token"
        # Nobody can remove the signature.
        server.break_introspection("no_active")
        assert_unavailable(api.get("/me", server.token_in_format("opaque")), "an answer without a signature")
        server.break_introspection("ok")
    # oidc-provider does not introspect its own JWTs: 400 `unsupported_token_type`.
    with introspecting(folder, "every-token", server, AUDIENCE, every_token=True) as api:
        assert_rejected(api.get("/me", server.token()), "a JWT that the server does not introspect")


def wrong_client_secret(folder, server):
    """If the server refuses the credentials of the API, that is no verdict about tokens, and the server is left alone."""
    with introspecting(folder, "wrong-secret", server, OPAQUE, secret="wrong", algorithms=None) as api:
        server.introspections()
        tokens = [server.token_in_format("opaque") for _ in range(3)]
        server.introspections()
        for _ in range(20):
            for token in tokens:
                assert_unavailable(api.get("/me", token), "with a wrong secret")
        calls = server.introspections()
        assert 2 <= calls <= 8, f"{calls} calls with a wrong secret"
        assert "refuses the credentials" in api.log.read_text(), "the log names the cause"


def failures_of_the_introspection_endpoint(folder, server):
    """Whatever the endpoint responds, a request without an answer gets 503, and never 401. Known tokens stay accepted."""
    with introspecting(folder, "introspection-failures", server, OPAQUE, ttl="60s") as api:
        known = server.token_in_format("opaque")
        for failure in ("500", "429", "html", "slow", "huge", "string_active", "no_active", "redirect"):
            assert_equal(api.get("/me", known).status, 200, f"before {failure}")
            server.break_introspection(failure)
            new = server.token_in_format("opaque")
            start = time.monotonic()
            assert_unavailable(api.get("/me", new), f"a new token during {failure}")
            assert time.monotonic() - start < 5, f"the wait during {failure} is bounded"
            assert_equal(api.get("/me", known).status, 200, f"a known token during {failure}")
            assert_equal(server.request_counts().get("/elsewhere"), None, "redirects are not followed")
            server.break_introspection("ok")
            assert wait_until(lambda: api.get("/me", new).status == 200, 35) is not None, f"recovers from {failure}"


def every_jwt_is_introspected(folder, server):
    """A JWT whose signature is valid is rejected after its revocation."""
    settings = {"every_token": True, "auth": "post", "ttl": "1s", "negative_ttl": "1s"}
    with introspecting(folder, "revoked", server, AUDIENCE, secret="svc-secret", **settings) as api:
        token = server.token()
        assert_equal(api.get("/me", token).status, 200, "a JWT that is not revoked")
        server.revoke(token)
        assert wait_until(lambda: api.get("/me", token).status == 401, 5) is not None, "a revoked JWT"
        assert_rejected(api.get("/me", with_unknown_kid(token)), "a forged JWT")


def assert_unavailable(response, what):
    assert_equal(response.status, 503, what)
    assert int(response.headers.get("retry-after", "0")) >= 1, f"{what}: no Retry-After"
    assert_equal(response.challenge, None, f"{what}: challenge")


SCENARIOS = [
    opaque_tokens_beside_jwts,
    opaque_tokens_only,
    signed_answers,
    wrong_client_secret,
    failures_of_the_introspection_endpoint,
]
