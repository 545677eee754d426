#!/usr/bin/env python3
"""Validates the same tokens with the example server and with four libraries of other languages, and prints every difference.

The script `run` beside this one installs the dependencies. Prints the tables of the guide page. The exit status is 1 if the
example server has an unexpected result, or if the tables of the page differ.
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

from cases import AUDIENCE, ISSUER, PARTS, Keys, cases

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def serve(document):
    """Publishes a key set on loopback and returns its URL."""

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


class ExampleServer:
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
        raise SystemExit("the example server does not start")

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
    """Validates as documented for a key set: the key by `kid`, algorithms, audience, issuer, required claims."""
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


def node_results(jwks, uri, tokens):
    folder = os.environ.get("NODE_FOLDER", str(HERE))
    # Modules are resolved relative to the script.
    script = pathlib.Path(folder) / "differential.mjs"
    script.write_text((HERE / "node.mjs").read_text())
    request = {"jwks": jwks, "jwksUri": uri, "issuer": ISSUER, "audience": AUDIENCE, "tokens": tokens}
    answer = subprocess.run(["node", str(script)], input=json.dumps(request), capture_output=True, text=True, cwd=folder)
    if answer.returncode:
        raise SystemExit(answer.stderr)
    return json.loads(answer.stdout)


def main():
    keys = Keys()
    jwks = keys.jwks()
    uri = serve(json.dumps(jwks).encode())
    all_cases = sorted(cases(keys), key=lambda case: PARTS.index(case[0].split(": ")[0]))
    tokens = [token for _, token, _, _ in all_cases]
    server = ExampleServer(uri)
    try:
        results = {"tower-bearer": [server.accepts(token) for token in tokens]}
    finally:
        server.stop()
    pyjwt_keys = jwt.PyJWKSet.from_dict(jwks)
    results["PyJWT"] = [pyjwt_accepts(token, pyjwt_keys) for token in tokens]
    joserfc_keys = jwk.KeySet.import_key_set(jwks)
    results["joserfc"] = [joserfc_accepts(token, joserfc_keys) for token in tokens]
    results.update(node_results(jwks, uri, tokens))
    lines = list(report(all_cases, results))
    print("\n".join(lines))
    for (name, _, expected, _), accepted in zip(all_cases, results["tower-bearer"]):
        if accepted != (expected == "accept"):
            print(f"WRONG: the example server {'accepts' if accepted else 'rejects'} {name}", file=sys.stderr)
    expectations = [expected == "accept" for _, _, expected, _ in all_cases]
    sys.exit(results["tower-bearer"] != expectations or differs_from_the_guide(lines))


def differs_from_the_guide(lines):
    """Returns whether a line is missing in the page, or the page has other table rows."""
    page = (ROOT / "src" / "guide" / "differential.md").read_text().splitlines()
    tables = [line for line in page if line.startswith("|")]
    expected = [line for line in lines if line]
    missing = [line for line in expected if line not in page]
    outdated = [line for line in tables if line not in expected]
    for line in missing:
        print(f"the guide lacks the line: {line}", file=sys.stderr)
    for line in outdated:
        print(f"the guide has an outdated line: {line}", file=sys.stderr)
    return bool(missing or outdated)


def report(all_cases, results):
    """Yields the lines of the tables in the guide."""
    names = list(results)
    yield "| library | version | call |"
    yield "|--|--|--|"
    for name in names:
        yield f"| {name if name != 'tower-bearer' else '`tower-bearer`'} | {version(name)} | {CALLS[name]} |"
    yield f"Each library validates the same {len(all_cases)} tokens."
    yield "| part | content | expected | rule | " + " | ".join(names) + " |"
    yield "|--|--|--|--|" + "--|" * len(names)
    agreed = 0
    for at, (name, _, expected, rule) in enumerate(all_cases):
        row = [results[other][at] == (expected == "accept") for other in names]
        if all(row):
            agreed += 1
            continue
        opposite = {"accept": "rejects", "reject": "accepts"}[expected]
        wrong = opposite if rule.startswith("this crate") else f"**{opposite}**"
        marks = [f"{expected}s" if is_expected else wrong for is_expected in row]
        part, content = name.split(": ", 1)
        yield f"| {part} | {content} | {expected} | {rule} | " + " | ".join(marks) + " |"
    yield f"For the other {agreed} tokens, all five have the expected result."
    yield "| library | results against an RFC | tokens that the library treats differently from this crate, where the RFCs allow both |"
    yield "|--|--|--|"
    for other in names:
        differing = [rule for accepted, (_, _, expected, rule) in zip(results[other], all_cases)
                     if accepted != (expected == "accept")]
        own = sum(rule.startswith("this crate") for rule in differing)
        yield f"| {other} | {len(differing) - own} | {own} |"


def version(name):
    if name == "tower-bearer":
        return "this repository"
    if name in ["PyJWT", "joserfc"]:
        return importlib.metadata.version(name)
    folder = pathlib.Path(os.environ.get("NODE_FOLDER", str(HERE)))
    return json.loads((folder / "node_modules" / name / "package.json").read_text())["version"]


CALLS = {
    "tower-bearer": "the example server over HTTP, keys fetched from loopback",
    "PyJWT": "`jwt.decode` with the key of the token's `kid` from a `PyJWKSet`",
    "joserfc": "`jwt.decode` with a `KeySet`, then a `JWTClaimsRegistry`",
    "jose": "`jwtVerify` with a local JWK set",
    "express-oauth2-jwt-bearer": "its middleware in an express application",
}


if __name__ == "__main__":
    main()
