#!/usr/bin/env python3
"""Fills the corpora from the public test vectors in TOWER_BEARER_VECTORS. Prints that it skips if that is not set."""

import base64
import hashlib
import json
import os
import pathlib
import re
import sys

VECTORS = os.environ.get("TOWER_BEARER_VECTORS")
ALGORITHM = re.compile(rb'"alg"\s*:\s*"[^"]*"')
CLAIMS = re.compile(rb'"(iss|aud|exp)"\s*:\s*("[^"]*"|[0-9]+)')
CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"


def seed(target, data):
    if isinstance(data, str):
        data = data.encode()
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(data).hexdigest()).write_bytes(data[:16384])


def decode(segment):
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        return b""


def members(json_object):
    """Returns the members of a JSON object as text that can be appended to other members."""
    inner = re.sub(rb",(\s*,)+", b",", json_object.strip()[1:-1].strip(b" \r\n,"))
    return b"," + inner if inner else b""


def token(text):
    """Adds a token as a seed of the token and header targets, and its parts as seeds of the JSON targets."""
    seed("token", text)
    seed("authorization_header", f"Bearer {text}")
    segments = text.split(".")
    if len(segments) == 3:
        header, payload = decode(segments[0]), decode(segments[1])
        seed("header_json", header)
        seed("claims_json", payload)
        # The claims of a token are what most servers put into an answer.
        seed("introspection_answer", b'{"active":true' + members(payload) + b"}")
        # The target signs with its own secret: the parts as they are, and as additional members of a valid token.
        seed("differential", ALGORITHM.sub(b'"alg":"HS256"', header) + b"\0" + payload)
        seed("differential", members(ALGORITHM.sub(b"", header)) + b"\0" + members(CLAIMS.sub(b"", payload)) + b"\0")


def certificates():
    """Adds each test certificate in the formats of the proxies."""
    for path in (CORPUS.parents[1] / "tests" / "data" / "tls").glob("*.pem"):
        pem = path.read_text()
        if not pem.startswith("-----BEGIN CERTIFICATE-----"):
            continue
        text = "".join(pem.splitlines()[1:-1])
        digest = hashlib.sha256(base64.b64decode(text)).hexdigest()
        escaped = pem.replace(" ", "%20").replace("\n", "%0A")
        for field in [f":{text}:", text, digest, escaped, f"By=a;Hash={digest};Cert=\"{escaped}\";Subject=\"CN=b\";URI=c"]:
            seed("certificate_header", field)


def answers():
    """Adds answers of introspection endpoints: RFC 7662 section 2.2, one with the members of Keycloak, and broken ones."""
    for answer in [
        '{"active":true,"client_id":"l238j323ds-23ij4","username":"jdoe","scope":"read write dolphin","sub":"Z5O3upPC88QrAjx00dis",'
        '"aud":"https://protected.example.net/resource","iss":"https://server.example.com/","exp":1419356238,"iat":1419350238}',
        '{"exp":1800000300,"iat":1800000000,"auth_time":1799999999,"jti":"onrtac:7f0a","iss":"https://id.example/realms/shop",'
        '"aud":["orders-api","account"],"sub":"9b1c6f0e","typ":"Bearer","azp":"shop","sid":"c2e0b4de",'
        '"realm_access":{"roles":["buyer"]},"scope":"openid profile","client_id":"shop","username":"ann","token_type":"Bearer",'
        '"active":true}',
        '{"active":true,"exp":1800000000.5,"nbf":null,"cnf":{"jkt":"a"},"token_type":"DPoP","act":{"sub":"b"}}',
        '{"active":false}', ' {"active" : true}\n', '{"active":"true"}', '{"active":1}', '{"active":null}', '{}', '[true]',
        '{"active":false,"active":true}', '{"\\u0061ctive":true,"active":false}', '{"x":{"active":true}}',
        '{"active":true,"exp":1e300}', '{"active":true,"exp":"1800000000"}', '{"active":true} {"active":true}',
    ]:
        seed("introspection_answer", answer)


def main():
    certificates()
    answers()
    if not VECTORS:
        print("skipped: seeds (TOWER_BEARER_VECTORS is not set)")
        return
    root = pathlib.Path(VECTORS)
    for name in ["json_web_signature_test", "json_web_key_test", "json_web_encryption_test"]:
        for group in json.loads((root / "wycheproof" / f"{name}.json").read_text())["testGroups"]:
            keys = group.get("public", group.get("private"))
            seed("jwk_set", json.dumps(keys if "keys" in keys else {"keys": [keys]}))
            for case in group["tests"]:
                text = case.get("jws", case.get("jwe"))
                token(text if isinstance(text, str) else json.dumps(text))
    for case in json.loads((root / "attack-matrix" / "cases.json").read_text())["cases"]:
        if case.get("token"):
            token(case["token"])
        for _, value in case.get("headers", []):
            seed("authorization_header", value)
    for case in json.loads((root / "tink" / "jwt_validation_cases.json").read_text())["cases"]:
        if case.get("token"):
            token(case["token"])
    for path in [*root.glob("latchset-jose/*.jws*"), *root.glob("spring-security/*.token"),
                 *root.glob("mod_auth_openidc-fuzz/jwt/*")]:
        token(path.read_bytes().decode("utf-8", "replace").strip())
    for path in [*root.glob("jwks/**/*.json"), *root.glob("latchset-jose/*.jwk*"), *root.glob("mod_auth_openidc-fuzz/jwks/*"),
                 *root.glob("mod_auth_openidc-fuzz/pem_key/*"), *root.glob("jwt_verify_lib/**/*.txt")]:
        data = path.read_bytes()
        seed("jwk_set", data)
        if "openid" in path.name.lower() or "discovery" in path.name:
            seed("discovery", data)
    seed("discovery", '{"issuer":"https://as.example/","jwks_uri":"https://as.example/jwks"}')
    seed("discovery", '["https://as.example/","https://as.example/jwks"]')
    for lines in ["max-age=300\n0\n120\n\"x\"",
                  "max-age=60\n0\nWed, 21 Oct 2026 07:30:00 GMT\n\"x\"\nWed Oct 21 07:28:00 2026",
                  "public, max-age=15, stale-if-error=86400", "no-store\n5", "max-age=\"60\"",
                  "no-cache, max-age=99999999999999999999\n-1\nWed, 21 Oct 2026 07:28:00 GMT"]:
        seed("cache_control", lines)
    for pattern in range(0, 256, 8):
        seed("refresh_machine", bytes((pattern + at * 7) % 256 for at in range(256)))


if __name__ == "__main__":
    sys.exit(main())
