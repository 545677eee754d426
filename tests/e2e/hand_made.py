"""DPoP proofs that are made by hand: the text is written here, OpenSSL signs it, and curl sends it."""

import base64
import hashlib
import hmac
import json
import re
import secrets
import subprocess
import time
import urllib.parse

from servers import AUDIENCE, client_headers

ACCEPTED, PROOF, TOKEN, NONCE = (200, None), (401, "invalid_dpop_proof"), (401, "invalid_token"), (401, "use_dpop_nonce")
REMOVED = object()


class HandMade:
    """A client with a key, and a token that is bound to it."""

    def __init__(self, folder, server):
        self.key, self.other, self.server = Key(folder / "client.key"), Key(folder / "other.key"), server
        # Every host is on loopback.
        self.options = ["--connect-to", "::127.0.0.1:", *(["--cacert", server.authority] if server.authority else [])]
        self.token = self.request_token().json()["access_token"]

    def request_token(self):
        url = self.server.token_endpoint
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "resource": AUDIENCE, "scope": "read:orders"})
        fields = [f"{name}: {value}" for name, value in client_headers("svc-dpop").items()]
        return curl(url, [*fields, f"DPoP: {self.proof(url, 'POST', claims={'ath': REMOVED})}"], "--data", form, *self.options)

    def proof(self, url, method="GET", header=None, claims=None, key=None, token=None, sign=None):
        """Returns a proof with these members changed. The value `REMOVED` removes a member. `sign` replaces the signature."""
        key = key or self.key
        ath = hashlib.sha256((token or getattr(self, "token", "")).encode()).digest()
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": key.jwk, **(header or {})}
        payload = {"jti": secrets.token_urlsafe(16), "htm": method, "htu": url, "iat": int(time.time()), "ath": encode(ath)}
        payload.update(claims or {})
        parts = [{name: value for name, value in part.items() if value is not REMOVED} for part in (header, payload)]
        text = ".".join(encode(json.dumps(part).encode()) for part in parts)
        return f"{text}.{encode((sign or key.sign)(text.encode()))}"

    def send(self, url, *proofs, scheme="DPoP", method="GET", more=()):
        fields = [f"Authorization: {scheme} {self.token}", *(f"DPoP: {proof}" for proof in proofs), *more]
        return curl(url, fields, *self.options, *(["--head"] if method == "HEAD" else []))

    def check_hosts(self, origins, what):
        """A proof for each URL is accepted there and rejected at the others, also if the client names another host in a field."""
        for origin in origins:
            for signed in origins:
                for more in [[], [f"X-Forwarded-Host: {urllib.parse.urlsplit(signed).netloc}"]]:
                    response = self.send(f"{origin}/me", self.proof(f"{signed}/me"), more=more)
                    expect(f"proof for {signed} at {origin} {what} {more}", response, ACCEPTED if origin == signed else PROOF)

    def check_each_proof(self, origin):
        url = f"{origin}/me"
        for name, expected, changes in self.cases(origin, int(time.time())):
            response = self.send(url, self.proof(**{"url": url, **changes}))
            assert response.outcome == expected, f"{name}: {response}"
        for scheme in ["dpop", "DPOP"]:
            expect(f"scheme {scheme}", self.send(url, self.proof(url), scheme=scheme), ACCEPTED)
        for name, proofs in {
            "no proof": [],
            "two proofs": [self.proof(url), self.proof(url)],
            "two proofs in one field": [f"{self.proof(url)}, {self.proof(url)}"],
            "two segments": [self.proof(url).rpartition(".")[0]],
            "padding": [self.proof(url) + "="],
        }.items():
            expect(name, self.send(url, *proofs), PROOF)
        expect("GET on HEAD", self.send(url, self.proof(url), method="HEAD"), PROOF)
        expect("HEAD on HEAD", self.send(url, self.proof(url, "HEAD"), method="HEAD"), ACCEPTED)
        used = self.proof(url)
        expect("a new proof", self.send(f"{url}?page=1", used), ACCEPTED)
        expect("a used proof", self.send(f"{url}?page=2", used), PROOF)
        stolen = curl(url, [f"Authorization: Bearer {self.token}", f"DPoP: {self.proof(url)}"])
        assert stolen.outcome == TOKEN and stolen.challenge.startswith("Bearer error="), stolen
        both = curl(url, [f"Authorization: {scheme} {self.token}" for scheme in ("Bearer", "DPoP")])
        assert both.outcome == (400, "invalid_request"), both

    def cases(self, origin, now):
        """Returns the name, the outcome, and the changes of each proof."""
        url = f"{origin}/me"
        claims = lambda **changes: {"claims": changes}
        header = lambda **changes: {"header": changes}
        return [
            ("nothing is changed", ACCEPTED, {}),
            ("query in htu", ACCEPTED, claims(htu=f"{url}?a=b")),
            ("fragment in htu", ACCEPTED, claims(htu=f"{url}#a")),
            ("scheme of htu in upper case", ACCEPTED, claims(htu=url.replace("http", "HTTP"))),
            ("encoded letter in htu", ACCEPTED, claims(htu=f"{origin}/%6De")),
            ("dot segments in htu", ACCEPTED, claims(htu=f"{origin}/x/../me")),
            ("members that nothing reads", ACCEPTED, {"header": {"kid": "k"}, "claims": {"iss": "me", "x": [1]}}),
            ("typ with application/", ACCEPTED, header(typ="application/dpop+jwt")),
            ("iat a minute ago", ACCEPTED, claims(iat=now - 60)),
            ("iat in 20 s", ACCEPTED, claims(iat=now + 20)),
            ("iat with a fraction", ACCEPTED, claims(iat=now + 0.5)),
            ("nbf now and exp in five minutes", ACCEPTED, claims(nbf=now, exp=now + 300)),
            ("use sig and key_ops verify", ACCEPTED, header(jwk={**self.key.jwk, "use": "sig", "key_ops": ["verify"]})),
            ("htm in lower case", PROOF, claims(htm="get")),
            ("another htm", PROOF, claims(htm="POST")),
            ("no htm", PROOF, claims(htm=REMOVED)),
            ("another scheme in htu", PROOF, claims(htu=url.replace("http", "https"))),
            ("another host in htu", PROOF, claims(htu="http://api.test/me")),
            ("another port in htu", PROOF, claims(htu="http://127.0.0.1:1/me")),
            ("another path in htu", PROOF, claims(htu=f"{origin}/orders")),
            ("slash at the end of htu", PROOF, claims(htu=f"{url}/")),
            ("path only in htu", PROOF, claims(htu="/me")),
            ("no htu", PROOF, claims(htu=REMOVED)),
            ("iat 200 s ago", PROOF, claims(iat=now - 200)),
            ("iat in 100 s", PROOF, claims(iat=now + 100)),
            ("iat is text", PROOF, claims(iat=str(now))),
            ("no iat", PROOF, claims(iat=REMOVED)),
            ("exp in the past", PROOF, claims(exp=now - 60)),
            ("nbf in the future", PROOF, claims(nbf=now + 100)),
            ("empty jti", PROOF, claims(jti="")),
            ("jti is a number", PROOF, claims(jti=7)),
            ("jti of 6 KB", PROOF, claims(jti="j" * 6000)),
            ("no jti", PROOF, claims(jti=REMOVED)),
            ("ath of another token", PROOF, {"token": self.token + "x"}),
            ("no ath", PROOF, claims(ath=REMOVED)),
            ("typ JWT", PROOF, header(typ="JWT")),
            ("no typ", PROOF, header(typ=REMOVED)),
            ("alg none", PROOF, header(alg="none")),
            *[(f"HS256 with {name}", PROOF, {**header(alg="HS256"), "sign": hmac_with(secret)}) for name, secret in self.key.forms()],
            ("alg of another curve", PROOF, header(alg="ES384")),
            ("crit", PROOF, header(crit=["exp"])),
            ("private key in jwk", PROOF, header(jwk=self.key.private_jwk())),
            ("use enc", PROOF, header(jwk={**self.key.jwk, "use": "enc"})),
            ("no jwk", PROOF, header(jwk=REMOVED)),
            ("signature by another key", PROOF, {"header": {"jwk": self.key.jwk}, "key": self.other}),
            ("another key", TOKEN, {"key": self.other}),
        ]

    def check_nonces(self, origin):
        url = f"{origin}/me"
        first = self.send(url, self.proof(url))
        expect("no nonce", first, NONCE)
        nonce = first.field("dpop-nonce")
        expect("the nonce of the API", self.send(url, self.proof(url, claims={"nonce": nonce})), ACCEPTED)
        old = {"nonce": nonce, "iat": int(time.time()) - 3600}
        expect("the nonce and a wrong clock", self.send(url, self.proof(url, claims=old)), ACCEPTED)
        expect("another nonce", self.send(url, self.proof(url, claims={"nonce": nonce[::-1]})), NONCE)
        self.server.control("nonce?on=1")
        rejected = self.request_token()
        self.server.control("nonce?on=0")
        assert rejected.status == 400 and rejected.json()["error"] == "use_dpop_nonce", rejected
        of_server = rejected.field("dpop-nonce")
        expect("the nonce of the issuer", self.send(url, self.proof(url, claims={"nonce": of_server})), NONCE)


class Key:
    """A P-256 key in a file."""

    def __init__(self, file):
        self.file = file
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", file)
        self.der = openssl("ec", "-in", file, "-pubout", "-outform", "DER")
        point = self.der[-64:]
        self.jwk = {"kty": "EC", "crv": "P-256", "x": encode(point[:32]), "y": encode(point[32:])}

    def forms(self):
        """Returns the forms of the public key that a server could use as the secret of an HMAC by mistake."""
        pem = openssl("ec", "-in", self.file, "-pubout")
        return [
            ("the point", self.der[-65:]),
            ("the coordinates", self.der[-64:]),
            ("DER", self.der),
            ("PEM", pem),
            ("PEM without the last line end", pem.rstrip()),
            ("the text of jwk", json.dumps(self.jwk).encode()),
        ]

    def private_jwk(self):
        # SEC 1: a sequence of the version 1 and the number.
        return {**self.jwk, "d": encode(openssl("ec", "-in", self.file, "-outform", "DER")[7:39])}

    def thumbprint(self):
        """Returns the hash of the members in the order of their names (RFC 7638)."""
        return encode(hashlib.sha256(json.dumps(self.jwk, sort_keys=True, separators=(",", ":")).encode()).digest())

    def sign(self, text):
        """Returns the signature as two numbers of 32 bytes (RFC 7518 §3.4). OpenSSL writes a DER sequence of two integers."""
        der = openssl("dgst", "-sha256", "-sign", self.file, input=text)
        first = der[4 : 4 + der[3]]
        second = der[6 + der[3] :]
        return b"".join(number[-32:].rjust(32, b"\0") for number in (first, second))


class Response:
    """The output of `curl --include`."""

    def __init__(self, text):
        head, _, self.body = text.partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        self.status = int(first.split(" ")[1])
        self.fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]

    def field(self, name):
        """Returns the value of a field, which must not be there twice."""
        values = [value for found, value in self.fields if found == name]
        assert len(values) <= 1, self
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    @property
    def challenge(self):
        return self.field("www-authenticate") or ""

    @property
    def outcome(self):
        """The status, and the error of the first challenge."""
        error = re.search(r'error="(\w+)"', self.challenge)
        return self.status, error and error[1]

    def __repr__(self):
        return f"{self.status} {self.fields}"


def expect(what, response, expected):
    assert response.outcome == expected, f"{what}: {response}"


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hmac_with(secret):
    return lambda text: hmac.digest(secret, text, "sha256")


def openssl(*arguments, input=None):
    return subprocess.run(["openssl", *arguments], input=input, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def curl(url, fields, *options):
    command = ["curl", "--silent", "--include", "--http1.1", "--noproxy", "*", "--max-time", "10", *options, url]
    command += [word for field in fields for word in ("--header", field)]
    return Response(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode())
