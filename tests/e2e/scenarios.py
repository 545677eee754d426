"""What must hold, the same for every authorization server."""

import base64
import signal
import socket
import threading
import time
import urllib.parse

import certificates
from api import Api, listening
from processes import Connection, Process, ask, wait_until
from servers import AUDIENCE, kid_of

REFUSED = 'error="invalid_token"'


def equal(actual, expected, what):
    assert actual == expected, f"{what}: {actual!r}, not {expected!r}"


def refused(answer, what):
    equal(answer.status, 401, what)
    assert REFUSED in (answer.challenge or ""), f"{what}: challenge {answer.challenge!r}"


def claims_of_every_algorithm(folder, server):
    """Discovery alone is enough to check a token of each algorithm, and its claims arrive as they were issued."""
    audiences = server.audiences(server.algorithms)
    with Api(folder, "algorithms", server.issuer, audiences, server.algorithms) as api:
        for algorithm in server.algorithms:
            answer = api.get("/me", server.token(algorithm))
            equal(answer.status, 200, algorithm)
            claims = answer.json()
            equal(claims["iss"], server.issuer, "iss")
            equal(claims["client_id"].startswith("svc"), True, "client_id")
            assert claims["aud"] in audiences, claims["aud"]
            equal(claims["scope"], "read:orders", "scope")
            assert claims["exp"] > time.time(), "exp"
        equal(api.stop(), 0, "exit status after SIGTERM")


def answers_to_what_is_not_good_enough(folder, server):
    """No token, a token for somebody else, another algorithm, too little scope, a broken signature."""
    token = server.token()
    with Api(folder, "answers", server.issuer, server.audiences(["RS256"]), ["RS256"]) as api:
        bare = api.get("/me")
        equal((bare.status, bare.challenge), (401, "Bearer"), "no token")
        equal(api.get("/orders", token).status, 200, "scope read:orders")
        lacking = api.get("/orders", token, "POST")
        equal(lacking.status, 403, "scope write:orders")
        assert 'error="insufficient_scope"' in lacking.challenge, lacking.challenge
        refused(api.get("/me", server.token("ES256")), "an algorithm that is not listed")
        head, payload, signature = token.split(".")
        broken = ("A" if signature[0] != "A" else "B") + signature[1:]
        refused(api.get("/me", f"{head}.{payload}.{broken}"), "a broken signature")
        equal(api.get("/optional").json(), {"subject": None}, "anonymous")
        equal(api.get("/public").status, 200, "public")
        equal(api.stop(signal.SIGINT), 0, "exit status after SIGINT")
    with Api(folder, "stranger", server.issuer, "https://other.example.test/", ["RS256"]) as api:
        refused(api.get("/me", token), "wrong audience")


def rotation_while_requests_flow(folder, server):
    """No valid token is refused while keys are added and, later, old ones go."""
    with Api(folder, "rotation", server.issuer, AUDIENCE, ["RS256"]) as api:
        with Traffic(api.origin, server.token()) as traffic:
            time.sleep(0.5)
            for mode in ("add", "add", "replace"):
                before = traffic.token
                server.rotate(mode)
                # From here on everybody uses tokens of the new key; the first of them must pass already.
                traffic.token = server.token()
                assert kid_of(traffic.token) != kid_of(before), "the new token has a new key"
                equal(api.get("/me", traffic.token).status, 200, f"a new key after {mode}")
                if mode == "add":
                    equal(api.get("/me", before).status, 200, "a token of the key before")
                # A little more than the longest pause between two fetches for unknown keys that are fruitful.
                time.sleep(1.5)
        traffic.must_be_flawless()


def outage_and_recovery(folder, server):
    """Known keys go on while the server is down; new ones come once it is back; a cold API says 503 until then."""
    with Api(folder, "outage", server.issuer, AUDIENCE, ["RS256"]) as api:
        token = server.token()
        with Traffic(api.origin, token) as traffic:
            server.stop()
            time.sleep(1.0)
            equal(api.get("/me", token).status, 200, "a known key")
            refused(api.get("/me", with_unknown_kid(token)), "an unknown key")
            equal(api.get("/readyz").status, 200, "readiness")
            with Api(folder, "cold", server.issuer, AUDIENCE, ["RS256"]).start(ready=False) as cold:
                answer = cold.get("/me", token)
                equal((answer.status, answer.challenge), (503, None), "a cold API")
                assert int(answer.headers["retry-after"]) >= 1, answer.headers
                equal(cold.get("/readyz").status, 503, "readiness of a cold API")
                equal(cold.get("/public").status, 200, "a public route of a cold API")
                server.start()
                took = wait_until(lambda: cold.get("/me", token).status == 200, 30)
                assert took is not None, "a cold API recovers"
            server.rotate("add")
            new = server.token()
            took = wait_until(lambda: api.get("/me", new).status == 200, 30)
            assert took is not None, "a new key is learned after the outage"
        traffic.must_be_flawless()


def faults_of_the_key_set(folder, server):
    """Whatever the key set's URL answers, known keys go on, and the API heals by itself."""
    with Api(folder, "faults", server.issuer, AUDIENCE, ["RS256"]) as api:
        for fault in ("500", "429", "garbage", "huge", "slow"):
            known = server.token()
            equal(api.get("/me", known).status, 200, f"before {fault}")
            with Traffic(api.origin, known) as traffic:
                server.break_keys(fault)
                server.rotate("add")
                new = server.token()
                server.hits()
                start = time.monotonic()
                refused(api.get("/me", new), f"a new key during {fault}")
                assert time.monotonic() - start < 4, "the wait for a new key is bounded"
                time.sleep(2)
                assert server.hits().get(server.issuer[len(server.origin) :] + "/jwks", 0) <= 4, "fetches are bounded"
                server.break_keys("ok")
                assert wait_until(lambda: api.get("/me", new).status == 200, 30) is not None, f"healed from {fault}"
            traffic.must_be_flawless()


def shapes_of_tokens(folder, server):
    """Auth0's shape, several audiences, a short life; opaque and encrypted tokens are refused, with a hint in the log."""
    shapes = ["auth0", "multiaud", "short", "opaque", "jwe"]
    with Api(folder, "shapes", server.issuer, [AUDIENCE + shape for shape in shapes], ["RS256"]) as api:
        claims = api.get("/me", server.shaped("auth0")).json()
        equal((claims["azp"], claims["permissions"]), ("svc", ["read:orders"]), "Auth0's claims")
        equal(len(api.get("/me", server.shaped("multiaud")).json()["aud"]), 2, "audiences")
        refused(api.get("/me", server.shaped("opaque")), "an opaque token")
        refused(api.get("/me", server.shaped("jwe")), "an encrypted token")
        log = api.log.read_text()
        assert "opaque: the client asked for no audience" in log and "turn token encryption off" in log, "hints"
        short = server.shaped("short")
        equal(api.get("/me", short).status, 200, "a token of 3 seconds")
        assert wait_until(lambda: api.get("/me", short).status == 401, 12, 0.5) > 2, "it expires after 3 s and 5 s leeway"
    for profile, good, bad in (("auth0", "auth0", "multiaud"), ("rfc9068", "multiaud", "auth0")):
        audiences = [AUDIENCE + good, AUDIENCE + bad]
        with Api(folder, profile, server.issuer, audiences, ["RS256"], profile=profile) as api:
            equal(api.get("/me", server.shaped(good)).status, 200, f"profile {profile}")
            refused(api.get("/me", server.shaped(bad)), f"profile {profile}")


def shared_secret(folder, server):
    """HS256 with a secret from the environment; the same API takes no RS256 token."""
    extra = 'secrets = [{ utf8_env = "E2E_SECRET" }]'
    api = Api(folder, "secret", server.issuer, [AUDIENCE, AUDIENCE + "hs256"], ["HS256"], extra=extra)
    with api.start({"E2E_SECRET": "k" * 32}):
        equal(api.get("/me", server.shaped("hs256")).status, 200, "HS256")
        refused(api.get("/me", server.token()), "RS256 where HS256 is configured")


def near_miss_of_the_issuer(folder, server):
    """A trailing slash too many is no match, and the log says so."""
    other = server.issuer[:-1] if server.issuer.endswith("/") else server.issuer + "/"
    keys = f'jwks_uri = "{server.issuer.rstrip("/")}/jwks"'
    with Api(folder, "slash", other, AUDIENCE, ["RS256"], extra=keys) as api:
        refused(api.get("/me", server.token()), "an issuer that differs by a slash")
        hint = "iss has a trailing slash too many" if server.issuer.endswith("/") else "iss lacks the trailing slash"
        assert hint in api.log.read_text(), f"the log says: {hint}"


def a_silent_client_does_not_hold_the_end(folder, server):
    """A client that speaks HTTP/2 and then says nothing is waited for, but not for ever; a second signal ends that, too."""
    keys = f'jwks_uri = "{server.issuer.rstrip("/")}/jwks"'
    with Api(folder, "silent", server.issuer, AUDIENCE, ["RS256"], extra=keys) as api, silent(api.origin):
        # The grace period of ten seconds, and a little.
        equal(api.stop(seconds=14), 0, "exit status with a silent client")
    with Api(folder, "impatient", server.issuer, AUDIENCE, ["RS256"], extra=keys) as api, silent(api.origin):
        api.process.child.send_signal(signal.SIGTERM)
        assert wait_until(lambda: api.get("/livez").status == 0) is not None, "nobody new is accepted"
        assert api.process.is_running(), "the silent client is waited for"
        equal(api.stop(signal.SIGINT, seconds=5), 0, "exit status after a second signal")


def a_credential_far_too_long(folder, server):
    """It is refused with the same answer over HTTP/1.1 and HTTP/2."""
    with Api(folder, "long", server.issuer, AUDIENCE, ["RS256"]) as api:
        for kilobytes in (100, 300):
            token = "x" * kilobytes * 1000
            refused(api.get("/me", token), f"{kilobytes} kB over HTTP/1.1")
            # `:status` as a literal, 401 in Huffman's code (RFC 7541 §6.2.1).
            equal(head_over_http2(api.origin, token)[:4], b"\x48\x82\x68\x01", f"{kilobytes} kB over HTTP/2")


def https_with_a_private_authority(folder, server):
    """Discovery and keys come over https once the authority is trusted through the API, and not before."""
    algorithms = ["RS256", "ES256"]
    for authority, status in ((server.authority, 200), (stranger(folder), 503)):
        log = folder / f"private-ca-{status}.log"
        arguments = [Api.binaries["private_ca"], authority, server.issuer, AUDIENCE + "es256", *algorithms]
        process = Process(arguments, log, {"RUST_LOG": "tower_bearer=debug"})
        origin = listening(process)
        answer = ask("GET", f"{origin}/me", {"authorization": f"Bearer {server.token('ES256')}"})
        equal(answer.status, status, "with the authority trusted" if status == 200 else "with another authority")
        process.stop()


def stranger(folder):
    """The certificate of an authority that signed nothing here."""
    return certificates.make(folder / "stranger") / "ca.pem"


EVERYWHERE = [
    claims_of_every_algorithm,
    answers_to_what_is_not_good_enough,
    rotation_while_requests_flow,
    outage_and_recovery,
]
WITH_FAULTS = [
    faults_of_the_key_set,
    shapes_of_tokens,
    shared_secret,
    near_miss_of_the_issuer,
    a_silent_client_does_not_hold_the_end,
    a_credential_far_too_long,
]
OVER_HTTPS = [https_with_a_private_authority]
OTHER_ISSUERS = [claims_of_every_algorithm, near_miss_of_the_issuer]


class Traffic:
    """Requests without pause over kept-alive connections; `token` may change at any time."""

    def __init__(self, origin, token, workers=3):
        self.origin, self.token = origin, token
        self.answers, self.bad, self.ended = 0, [], threading.Event()
        self.threads = [threading.Thread(target=self.flow) for _ in range(workers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def flow(self):
        connection = Connection(self.origin)
        while not self.ended.is_set():
            token = self.token
            answer = connection.ask("GET", "/me", {"authorization": f"Bearer {token}"})
            self.answers += 1
            # A key that has been replaced meanwhile may refuse its last request.
            if answer.status != 200 and token == self.token:
                self.bad.append((answer.status, answer.body[:100]))
            time.sleep(0.002)

    def must_be_flawless(self):
        assert self.answers > 100, f"only {self.answers} requests"
        assert not self.bad, f"{len(self.bad)} of {self.answers} requests failed, first {self.bad[0]}"


def silent(origin):
    """A connection that has sent the preface of HTTP/2 and its settings, has heard the server, and is still."""
    url = urllib.parse.urlsplit(origin)
    connection = socket.create_connection((url.hostname, url.port), timeout=5)
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
    assert connection.recv(9, socket.MSG_PEEK), "the server speaks HTTP/2"
    return connection


def head_over_http2(origin, token):
    """The head of the answer to `GET /me`, as it is on the wire; curl sends no field of more than 64 KiB."""
    credential = f"Bearer {token}".encode()
    length, octets = len(credential) - 127, [127]
    while length >= 128:
        length, octets = length >> 7, [*octets, length & 127 | 128]
    block = b"\x82\x86\x04\x03/me\x41\x01a\x0f\x08" + bytes([*octets, length]) + credential
    parts = [block[at : at + 16384] for at in range(0, len(block), 16384)]
    with silent(origin) as connection, connection.makefile("rb") as answers:
        for at, part in enumerate(parts):
            # HEADERS that end the stream, then CONTINUATION up to the end of the head.
            flags = (1 if at == 0 else 0) | (4 if at == len(parts) - 1 else 0)
            connection.sendall(frame(9 if at else 1, flags, 1, part))
        kind, body = None, b""
        while kind != 1:
            head = answers.read(9)
            assert len(head) == 9, "the connection stands"
            kind, body = head[3], answers.read(int.from_bytes(head[:3], "big"))
        return body


def frame(kind, flags, stream, body):
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def with_unknown_kid(token):
    header = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"unheard-of"}').rstrip(b"=").decode()
    return header + "." + token.split(".", 1)[1]
