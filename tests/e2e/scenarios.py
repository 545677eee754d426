"""The scenarios, which are the same for every authorization server."""

import base64
import signal
import socket
import threading
import time
import urllib.parse

import certificates
from api import Api, listening
from processes import Connection, Process, send, wait_until
from servers import AUDIENCE, kid_of

INVALID_TOKEN = 'error="invalid_token"'


def assert_equal(actual, expected, what):
    assert actual == expected, f"{what}: {actual!r}, not {expected!r}"


def assert_rejected(response, what):
    assert_equal(response.status, 401, what)
    assert INVALID_TOKEN in (response.challenge or ""), f"{what}: challenge {response.challenge!r}"


def claims_of_every_algorithm(folder, server):
    """With discovery only, tokens of each algorithm are accepted, and their claims reach the handler unchanged."""
    audiences = server.audiences(server.algorithms)
    with Api(folder, "algorithms", server.issuer, audiences, server.algorithms) as api:
        for algorithm in server.algorithms:
            response = api.get("/me", server.token(algorithm))
            assert_equal(response.status, 200, algorithm)
            claims = response.json()
            assert_equal(claims["iss"], server.issuer, "iss")
            assert_equal(claims["client_id"].startswith("svc"), True, "client_id")
            assert claims["aud"] in audiences, claims["aud"]
            assert_equal(claims["scope"], "read:orders", "scope")
            assert claims["exp"] > time.time(), "exp"
        assert_equal(api.stop(), 0, "exit status after SIGTERM")


def responses_to_missing_and_invalid_tokens(folder, server):
    """No token, a wrong audience, an algorithm that is not listed, insufficient scope, a broken signature."""
    token = server.token()
    with Api(folder, "responses", server.issuer, server.audiences(["RS256"]), ["RS256"]) as api:
        bare = api.get("/me")
        assert_equal((bare.status, bare.challenge), (401, "Bearer"), "no token")
        assert_equal(api.get("/orders", token).status, 200, "scope read:orders")
        forbidden = api.get("/orders", token, "POST")
        assert_equal(forbidden.status, 403, "scope write:orders")
        assert 'error="insufficient_scope"' in forbidden.challenge, forbidden.challenge
        assert_rejected(api.get("/me", server.token("ES256")), "an algorithm that is not listed")
        head, payload, signature = token.split(".")
        broken = ("A" if signature[0] != "A" else "B") + signature[1:]
        assert_rejected(api.get("/me", f"{head}.{payload}.{broken}"), "a broken signature")
        assert_equal(api.get("/optional").json(), {"subject": None}, "anonymous")
        assert_equal(api.get("/public").status, 200, "public")
        assert_equal(api.stop(signal.SIGINT), 0, "exit status after SIGINT")
    with Api(folder, "audience", server.issuer, "https://other.example.test/", ["RS256"]) as api:
        assert_rejected(api.get("/me", token), "wrong audience")


def rotation_under_traffic(folder, server):
    """No valid token is rejected while keys are added and, later, old keys are removed."""
    with Api(folder, "rotation", server.issuer, AUDIENCE, ["RS256"]) as api:
        with Traffic(api.origin, server.token()) as traffic:
            time.sleep(0.5)
            for mode in ("add", "add", "replace"):
                before = traffic.token
                server.rotate(mode)
                # All requests now use tokens of the new key, and the first of them must be accepted.
                traffic.token = server.token()
                assert kid_of(traffic.token) != kid_of(before), "the new token has a new key"
                assert_equal(api.get("/me", traffic.token).status, 200, f"a new key after {mode}")
                if mode == "add":
                    assert_equal(api.get("/me", before).status, 200, "a token of the key before")
                # A little more than the cool-down after a fetch for an unknown kid that changed the set.
                time.sleep(1.5)
        traffic.assert_no_failures()


def outage_and_recovery(folder, server):
    """Known keys stay usable while the server is down, and new keys are loaded after it is back. Until then an API without
    keys responds 503."""
    with Api(folder, "outage", server.issuer, AUDIENCE, ["RS256"]) as api:
        token = server.token()
        with Traffic(api.origin, token) as traffic:
            server.stop()
            time.sleep(1.0)
            assert_equal(api.get("/me", token).status, 200, "a known key")
            assert_rejected(api.get("/me", with_unknown_kid(token)), "an unknown key")
            assert_equal(api.get("/readyz").status, 200, "readiness")
            with Api(folder, "cold", server.issuer, AUDIENCE, ["RS256"]).start(ready=False) as cold:
                response = cold.get("/me", token)
                assert_equal((response.status, response.challenge), (503, None), "a cold API")
                assert int(response.headers["retry-after"]) >= 1, response.headers
                assert_equal(cold.get("/readyz").status, 503, "readiness of a cold API")
                assert_equal(cold.get("/public").status, 200, "a public route of a cold API")
                server.start()
                took = wait_until(lambda: cold.get("/me", token).status == 200, 30)
                assert took is not None, "a cold API recovers"
            server.rotate("add")
            new = server.token()
            took = wait_until(lambda: api.get("/me", new).status == 200, 30)
            assert took is not None, "a new key is loaded after the outage"
        traffic.assert_no_failures()


def failures_of_the_key_set_url(folder, server):
    """With any response of the key set URL, known keys stay usable, and the API recovers afterwards."""
    with Api(folder, "key-set-failures", server.issuer, AUDIENCE, ["RS256"]) as api:
        for failure in ("500", "429", "malformed", "huge", "slow"):
            known = server.token()
            assert_equal(api.get("/me", known).status, 200, f"before {failure}")
            with Traffic(api.origin, known) as traffic:
                server.break_keys(failure)
                server.rotate("add")
                new = server.token()
                server.request_counts()
                start = time.monotonic()
                assert_rejected(api.get("/me", new), f"a new key during {failure}")
                assert time.monotonic() - start < 4, "the wait for a new key is bounded"
                time.sleep(2)
                assert server.request_counts().get(server.issuer[len(server.origin) :] + "/jwks", 0) <= 4, "fetches are bounded"
                server.break_keys("ok")
                assert wait_until(lambda: api.get("/me", new).status == 200, 30) is not None, f"recovers from {failure}"
            traffic.assert_no_failures()


def token_formats(folder, server):
    """Tokens as from Auth0, with several audiences, and with a short lifetime are accepted. Opaque and encrypted tokens are
    rejected, with a hint in the log."""
    formats = ["auth0", "multiaud", "short", "opaque", "jwe"]
    with Api(folder, "formats", server.issuer, [AUDIENCE + name for name in formats], ["RS256"]) as api:
        claims = api.get("/me", server.token_in_format("auth0")).json()
        assert_equal((claims["azp"], claims["permissions"]), ("svc", ["read:orders"]), "Auth0's claims")
        assert_equal(len(api.get("/me", server.token_in_format("multiaud")).json()["aud"]), 2, "audiences")
        assert_rejected(api.get("/me", server.token_in_format("opaque")), "an opaque token")
        assert_rejected(api.get("/me", server.token_in_format("jwe")), "an encrypted token")
        log = api.log.read_text()
        assert "opaque: the client requested no audience" in log and "turn token encryption off" in log, "hints"
        short = server.token_in_format("short")
        assert_equal(api.get("/me", short).status, 200, "a token of 3 seconds")
        assert wait_until(lambda: api.get("/me", short).status == 401, 12, 0.5) > 2, "it expires after 3 s and 5 s leeway"
    for profile, good, bad in (("auth0", "auth0", "multiaud"), ("rfc9068", "multiaud", "auth0")):
        audiences = [AUDIENCE + good, AUDIENCE + bad]
        with Api(folder, profile, server.issuer, audiences, ["RS256"], profile=profile) as api:
            assert_equal(api.get("/me", server.token_in_format(good)).status, 200, f"profile {profile}")
            assert_rejected(api.get("/me", server.token_in_format(bad)), f"profile {profile}")


def shared_secret(folder, server):
    """HS256 with a secret from the environment is accepted, and the same API rejects an RS256 token."""
    extra = 'secrets = [{ text_env = "E2E_SECRET" }]'
    api = Api(folder, "secret", server.issuer, [AUDIENCE, AUDIENCE + "hs256"], ["HS256"], extra=extra)
    with api.start({"E2E_SECRET": "k" * 32}):
        assert_equal(api.get("/me", server.token_in_format("hs256")).status, 200, "HS256")
        assert_rejected(api.get("/me", server.token()), "RS256 where HS256 is configured")


def issuer_that_differs_by_a_slash(folder, server):
    """An issuer with a missing or additional trailing slash is rejected, with a hint in the log."""
    other = server.issuer[:-1] if server.issuer.endswith("/") else server.issuer + "/"
    keys = f'jwks_uri = "{server.issuer.rstrip("/")}/jwks"'
    with Api(folder, "slash", other, AUDIENCE, ["RS256"], extra=keys) as api:
        assert_rejected(api.get("/me", server.token()), "an issuer that differs by a slash")
        hint = "iss has an extra trailing slash" if server.issuer.endswith("/") else "iss lacks the trailing slash"
        assert hint in api.log.read_text(), f"the log says: {hint}"


def silent_client_does_not_block_the_shutdown(folder, server):
    """The shutdown waits for an idle HTTP/2 client for a limited time. A second signal ends the wait."""
    keys = f'jwks_uri = "{server.issuer.rstrip("/")}/jwks"'
    with Api(folder, "silent", server.issuer, AUDIENCE, ["RS256"], extra=keys) as api, silent(api.origin):
        # A little more than the grace period of ten seconds.
        assert_equal(api.stop(seconds=14), 0, "exit status with a silent client")
    with Api(folder, "second-signal", server.issuer, AUDIENCE, ["RS256"], extra=keys) as api, silent(api.origin):
        api.process.child.send_signal(signal.SIGTERM)
        assert wait_until(lambda: api.get("/livez").status == 0) is not None, "no new connection is accepted"
        assert api.process.is_running(), "the shutdown waits for the silent client"
        assert_equal(api.stop(signal.SIGINT, seconds=5), 0, "exit status after a second signal")


def credential_above_the_limit(folder, server):
    """A credential that is far too long is rejected with the same status over HTTP/1.1 and HTTP/2."""
    with Api(folder, "long", server.issuer, AUDIENCE, ["RS256"]) as api:
        for kilobytes in (100, 300):
            token = "x" * kilobytes * 1000
            assert_rejected(api.get("/me", token), f"{kilobytes} kB over HTTP/1.1")
            # `:status` as a literal, 401 in Huffman code (RFC 7541 §6.2.1).
            assert_equal(head_over_http2(api.origin, token)[:4], b"\x48\x82\x68\x01", f"{kilobytes} kB over HTTP/2")


def https_with_a_private_authority(folder, server):
    """Discovery and keys are fetched over https if the API trusts the private authority, and not otherwise."""
    algorithms = ["RS256", "ES256"]
    for authority, status in ((server.authority, 200), (other_authority(folder), 503)):
        log = folder / f"private-ca-{status}.log"
        arguments = [Api.binaries["private_ca"], authority, server.issuer, AUDIENCE + "es256", *algorithms]
        process = Process(arguments, log, {"RUST_LOG": "tower_bearer=debug"})
        origin = listening(process)
        response = send("GET", f"{origin}/me", {"authorization": f"Bearer {server.token('ES256')}"})
        assert_equal(response.status, status, "with the authority trusted" if status == 200 else "with another authority")
        process.stop()


def other_authority(folder):
    """Returns the certificate of an authority that signed none of the server certificates."""
    return certificates.make(folder / "other-authority") / "ca.pem"


EVERYWHERE = [
    claims_of_every_algorithm,
    responses_to_missing_and_invalid_tokens,
    rotation_under_traffic,
    outage_and_recovery,
]
WITH_FAILURES = [
    failures_of_the_key_set_url,
    token_formats,
    shared_secret,
    issuer_that_differs_by_a_slash,
    silent_client_does_not_block_the_shutdown,
    credential_above_the_limit,
]
OVER_HTTPS = [https_with_a_private_authority]
OTHER_ISSUERS = [claims_of_every_algorithm, issuer_that_differs_by_a_slash]


class Traffic:
    """Continuous requests over keep-alive connections; `token` may change at any time."""

    def __init__(self, origin, token, workers=3):
        self.origin, self.token = origin, token
        self.count, self.failures, self.ended = 0, [], threading.Event()
        self.threads = [threading.Thread(target=self.send_continuously) for _ in range(workers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def send_continuously(self):
        connection = Connection(self.origin)
        while not self.ended.is_set():
            token = self.token
            response = connection.send("GET", "/me", {"authorization": f"Bearer {token}"})
            self.count += 1
            # A token whose key has just been replaced may be rejected.
            if response.status != 200 and token == self.token:
                self.failures.append((response.status, response.body[:100]))
            time.sleep(0.002)

    def assert_no_failures(self):
        assert self.count > 100, f"only {self.count} requests"
        assert not self.failures, f"{len(self.failures)} of {self.count} requests failed, first {self.failures[0]}"


def silent(origin):
    """Opens a connection that sends the HTTP/2 preface and settings, waits for the server's settings, and then stays idle."""
    url = urllib.parse.urlsplit(origin)
    connection = socket.create_connection((url.hostname, url.port), timeout=5)
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
    assert connection.recv(9, socket.MSG_PEEK), "the server supports HTTP/2"
    return connection


def head_over_http2(origin, token):
    """Returns the encoded header block of the response to `GET /me`; curl sends no field of more than 64 KiB."""
    credential = f"Bearer {token}".encode()
    length, encoded = len(credential) - 127, [127]
    while length >= 128:
        length, encoded = length >> 7, [*encoded, length & 127 | 128]
    block = b"\x82\x86\x04\x03/me\x41\x01a\x0f\x08" + bytes([*encoded, length]) + credential
    parts = [block[at : at + 16384] for at in range(0, len(block), 16384)]
    with silent(origin) as connection, connection.makefile("rb") as responses:
        for at, part in enumerate(parts):
            # HEADERS that end the stream, then CONTINUATION up to the end of the head.
            flags = (1 if at == 0 else 0) | (4 if at == len(parts) - 1 else 0)
            connection.sendall(frame(9 if at else 1, flags, 1, part))
        kind, body = None, b""
        while kind != 1:
            head = responses.read(9)
            assert len(head) == 9, "the connection is open"
            kind, body = head[3], responses.read(int.from_bytes(head[:3], "big"))
        return body


def frame(kind, flags, stream, body):
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def with_unknown_kid(token):
    header = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"unknown"}').rstrip(b"=").decode()
    return header + "." + token.split(".", 1)[1]
