#!/usr/bin/env python3
"""Feeds the same tokens to our example server and to four libraries of other languages, and prints every disagreement.

Needs `pip install joserfc pyjwt cryptography` and, in the folder named by NODE_FOLDER,
`npm install jose express express-oauth2-jwt-bearer`. Prints a table for the guide; exit status 1 if our server is
wrong by the rules in any case.
"""

import http.client
import http.server
import importlib.metadata
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time

import jwt
from joserfc import jwk
from joserfc import jwt as joserfc_jwt

from cases import AUDIENCE, ISSUER, Keys, cases

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def serve(document):
    """Publishes a key set on loopback and gives its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/jwks.json"


class OurServer:
    """The example server, configured for the same API."""

    def __init__(self, jwks_uri):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = f"""
listen = "127.0.0.1:{self.port}"
[api]
audience = "{AUDIENCE}"
leeway = "5s"
[[api.issuer]]
domains = ["{ISSUER}"]
algorithms = ["RS256"]
jwks_uri = "{jwks_uri}"
"""
        self.file = tempfile.NamedTemporaryFile("w", suffix=".toml")
        self.file.write(config)
        self.file.flush()
        command = ["cargo", "run", "--quiet", "--example", "server", "--", self.file.name]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        for _ in range(3000):
            try:
                if self.status("/readyz") == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit("our server does not start")

    def status(self, path, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path, headers=headers or {})
        return connection.getresponse().status

    def accepts(self, token):
        return self.status("/me", {"Authorization": f"Bearer {token}"}) == 200

    def stop(self):
        self.process.terminate()
        self.process.wait()


def pyjwt_accepts(token, keys):
    """As its documentation has it for a key set: the key by `kid`, algorithms, audience, issuer, required claims."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        key = next(key for key in keys.keys if key.key_id == kid)
        jwt.decode(token, key, algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER, leeway=5,
                   options={"require": ["exp", "iss", "aud"]})
        return True
    except Exception:
        return False


def joserfc_accepts(token, keys):
    try:
        decoded = joserfc_jwt.decode(token, keys, algorithms=["RS256"])
        registry = joserfc_jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE},
            exp={"essential": True}, leeway=5)
        registry.validate(decoded.claims)
        return True
    except Exception:
        return False


def node_verdicts(jwks, uri, tokens):
    folder = os.environ.get("NODE_FOLDER", str(HERE))
    # Modules are looked up from where the script stands.
    script = pathlib.Path(folder) / "differential.mjs"
    script.write_text((HERE / "node.mjs").read_text())
    question = {"jwks": jwks, "jwksUri": uri, "issuer": ISSUER, "audience": AUDIENCE, "tokens": tokens}
    answer = subprocess.run(["node", str(script)], input=json.dumps(question), capture_output=True, text=True, cwd=folder)
    if answer.returncode:
        raise SystemExit(answer.stderr)
    return json.loads(answer.stdout)


def main():
    keys = Keys()
    jwks = keys.jwks()
    uri = serve(json.dumps(jwks).encode())
    all_cases = list(cases(keys))
    tokens = [token for _, token, _, _ in all_cases]
    ours = OurServer(uri)
    try:
        verdicts = {"tower-bearer": [ours.accepts(token) for token in tokens]}
    finally:
        ours.stop()
    pyjwt_keys = jwt.PyJWKSet.from_dict(jwks)
    verdicts["PyJWT"] = [pyjwt_accepts(token, pyjwt_keys) for token in tokens]
    joserfc_keys = jwk.KeySet.import_key_set(jwks)
    verdicts["joserfc"] = [joserfc_accepts(token, joserfc_keys) for token in tokens]
    verdicts.update(node_verdicts(jwks, uri, tokens))
    report(all_cases, verdicts)
    expected = [verdict == "accept" for _, _, verdict, _ in all_cases]
    sys.exit(verdicts["tower-bearer"] != expected)


def report(all_cases, verdicts):
    names = list(verdicts)
    versions = {name: importlib.metadata.version(name.lower()) for name in ["PyJWT", "joserfc"]}
    print(f"{len(all_cases)} tokens; {', '.join(f'{name} {version}' for name, version in versions.items())}\n")
    print("| token | right | by |", " | ".join(names), "|")
    print("|--|--|--|" + "--|" * len(names))
    agreed = 0
    for at, (name, _, right, rule) in enumerate(all_cases):
        row = [verdicts[other][at] == (right == "accept") for other in names]
        if all(row):
            agreed += 1
            continue
        opposite = {"accept": "refuses", "refuse": "accepts"}[right]
        wrong = opposite if rule.startswith("ours") else f"**{opposite}**"
        marks = [f"{right}s" if is_right else wrong for is_right in row]
        print(f"| `{name.replace('|', '/')}` | {right} | {rule} |", " | ".join(marks), "|")
    print(f"\nAll five decide alike, and as they should, on {agreed} tokens.\n")
    print("| | against an RFC | laxer than our own rules |\n|--|--|--|")
    for other in names:
        differing = [rule for accepted, (_, _, right, rule) in zip(verdicts[other], all_cases)
                     if accepted != (right == "accept")]
        ours = sum(rule.startswith("ours") for rule in differing)
        print(f"| {other} | {len(differing) - ours} | {ours} |")


if __name__ == "__main__":
    main()
