"""The authorization servers: start, stop, key rotation, tokens."""

import base64
import json
import pathlib
import subprocess
import sys
import urllib.parse

from processes import Process, send, free_port, wait_until

HERE = pathlib.Path(__file__).parent
AUDIENCE = "https://api.example.test/"


class AuthorizationServer:
    """The interface that the scenarios use."""

    name = ""
    issuer = ""
    authority = None
    process = None
    client_authentication = "ClientSecretBasic"

    def token_from(self, client, resource, scope, key="resource", endpoint=None):
        form = {"grant_type": "client_credentials", key: resource, "scope": scope}
        body = urllib.parse.urlencode(form)
        response = send("POST", endpoint or self.token_endpoint, client_headers(client), body, self.authority)
        if response.status != 200:
            raise AssertionError(f"{self.name} returned no token: {response.status} {response.body[:300]}")
        return response.json()["access_token"]

    @property
    def token_endpoint(self):
        return self.issuer.rstrip("/") + "/token"

    def revoke(self, token, client="svc"):
        """Revokes a token, as the client that has requested it (RFC 7009)."""
        form = urllib.parse.urlencode({"token": token, "token_type_hint": "access_token"})
        response = send("POST", self.revocation_endpoint, client_headers(client), form, self.authority)
        assert response.status == 200, f"{self.name} does not revoke: {response.status} {response.body[:300]}"

    def stop(self):
        self.process.stop()


class OidcProvider(AuthorizationServer):
    """`oidc-provider` with control endpoints: the audience selects the format of a token."""

    algorithms = ["RS256", "ES256", "PS256", "ES384", "EdDSA"]

    def __init__(self, folder, modules, path="", certificates=None):
        self.folder, self.modules, self.certificates = pathlib.Path(folder), pathlib.Path(modules), certificates
        self.port = free_port()
        self.origin = f"{'https' if certificates else 'http'}://localhost:{self.port}"
        self.issuer = self.origin + path
        self.name = f"oidc-provider{path and ' at ' + path}{' over https' if certificates else ''}"
        self.authority = certificates and certificates / "ca.pem"
        self.log = self.folder / f"oidc-provider-{self.port}.log"

    def start(self):
        variables = {
            "PORT": str(self.port),
            "ISSUER": self.issuer,
            "JWKS_FILE": str(self.folder / f"keys-{self.port}.json"),
        }
        if self.certificates:
            variables["TLS_CERT"] = str(self.certificates / "localhost.pem")
            variables["TLS_KEY"] = str(self.certificates / "localhost.key")
            variables["TLS_CA"] = str(self.certificates / "ca.pem")
        # The script runs beside its modules, since imports are resolved relative to it.
        self.process = Process(["node", self.modules / "server.mjs"], self.log, variables)
        if wait_until(lambda: self.control("requests").status == 200) is None:
            raise AssertionError(f"{self.name} did not start: {self.log.read_text()[-800:]}")
        return self

    def token(self, algorithm="RS256", resource=AUDIENCE, scope="read:orders"):
        suffix = "" if algorithm == "RS256" else algorithm.lower()
        return self.token_from("svc", resource + suffix, scope)

    def token_in_format(self, name, scope="read:orders"):
        return self.token_from("svc", AUDIENCE + name, scope, "audience" if name == "auth0" else "resource")

    def audiences(self, algorithms):
        return [AUDIENCE if algorithm == "RS256" else AUDIENCE + algorithm.lower() for algorithm in algorithms]

    def rotate(self, mode):
        assert self.control(f"rotate?mode={mode}").status == 200, f"{self.name} does not rotate"

    @property
    def revocation_endpoint(self):
        return self.token_endpoint + "/revocation"

    def break_introspection(self, mode):
        self.control(f"introspection?mode={mode}")

    def introspections(self):
        """Returns the number of introspection requests since the last call."""
        return self.request_counts().get(self.issuer[len(self.origin) :].rstrip("/") + "/token/introspection", 0)

    def break_keys(self, mode):
        self.control(f"jwks?mode={mode}")

    def request_counts(self):
        """Returns the number of requests by path since the last call."""
        return self.control("requests?reset=1").json()

    def tenant(self, name, mode):
        """Creates, removes or breaks the tenant `/t/<name>`, which has its own keys."""
        assert self.control(f"tenant?name={name}&mode={mode}").status == 200, f"{self.name}: {mode} {name}"

    def tenant_token(self, name, scope="read:orders"):
        return self.token_from("svc", AUDIENCE, scope, endpoint=f"{self.origin}/t/{name}/token")

    def control(self, what):
        return send("POST", f"{self.origin}/__ctl/{what}", authority=self.authority)


class Glewlwyd(AuthorizationServer):
    """`glewlwyd` with its OpenID Connect plugin: the client selects the signature algorithm."""

    name = "glewlwyd"
    # It does not decode the form encoding of `-` in a client id, which the clients send with Basic (RFC 6749 §2.3.1).
    client_authentication = "ClientSecretPost"
    algorithms = ["RS256", "ES256", "PS256", "ES384", "EdDSA"]

    def __init__(self, folder):
        self.folder = pathlib.Path(folder) / "glewlwyd"
        self.port = free_port()
        self.origin = f"http://localhost:{self.port}"
        self.issuer = f"{self.origin}/api/oidc"
        self.rotations = 0
        subprocess.run(["bash", HERE / "glewlwyd/configure.sh", self.folder, str(self.port), self.origin], check=True)
        self.is_set_up = False

    def start(self):
        arguments = ["glewlwyd", f"--config-file={self.folder}/g.conf"]
        self.process = Process(arguments, self.folder / "output.log")
        if wait_until(lambda: send("GET", f"{self.origin}/config").status == 200) is None:
            raise AssertionError("glewlwyd did not start")
        if not self.is_set_up:
            self.run("setup.py", self.origin, self.issuer)
            self.is_set_up = True
        return self

    def token(self, algorithm="RS256", resource=AUDIENCE, scope="read:orders"):
        client = "svc" if algorithm == "RS256" else f"svc-{algorithm.lower()}"
        return self.token_from(client, resource, scope)

    @property
    def revocation_endpoint(self):
        return self.issuer + "/revoke"

    def audiences(self, _algorithms):
        return [AUDIENCE]

    def rotate(self, mode):
        self.rotations += 1
        self.run("rotate.py", self.origin, mode, f"-{self.rotations}")

    def run(self, script, *arguments):
        subprocess.run([sys.executable, HERE / "glewlwyd" / script, *arguments], check=True, stdout=subprocess.DEVNULL)


def client_headers(client):
    basic = base64.b64encode(f"{client}:svc-secret".encode()).decode()
    return {"authorization": f"Basic {basic}", "content-type": "application/x-www-form-urlencoded"}


def kid_of(token):
    header = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]
