"""The test tokens, each with the expected result and the rule for it."""

import base64
import hashlib
import hmac
import json
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

ISSUER = "https://as.example/"
AUDIENCE = "https://api.example/"
PARTS = ["header", "key", "signature", "encoding", "payload", "size"]


def b64(data):
    if isinstance(data, str):
        data = data.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value):
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Keys:
    def __init__(self):
        self.private = {name: rsa.generate_private_key(65537, 2048) for name in
                        ["k1", "k2", "enc", "ops", "rs512", "noalg", "unpublished"]}
        self.private["weak"] = rsa.generate_private_key(65537, 1024)
        self.curve = ec.generate_private_key(ec.SECP256R1())

    def jwk(self, name, **members):
        public = self.private[name].public_key().public_numbers()
        return {"kty": "RSA", "kid": name, "n": number(public.n), "e": number(public.e), **members}

    def jwks(self):
        sig = {"use": "sig", "alg": "RS256"}
        return {"keys": [
            self.jwk("k1", **sig), self.jwk("k2", **sig), self.jwk("enc", use="enc"),
            self.jwk("ops", key_ops=["encrypt"]), self.jwk("rs512", use="sig", alg="RS512"),
            self.jwk("weak", **sig), self.jwk("noalg"),
        ]}

    def pem(self, name):
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private[name].public_key().public_bytes(serialization.Encoding.PEM, form)

    def rs(self, message, name="k1", hash=hashes.SHA256()):
        return self.private[name].sign(message, padding.PKCS1v15(), hash)


def cases(keys):
    """Yields (name, token, expected result, rule). A name begins with the part that the case is about: one of `PARTS`."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "iat": now - 60, "exp": now + 600}
    header = {"alg": "RS256", "kid": "k1", "typ": "JWT"}

    def raw(head, body, signer="k1", sign=None):
        head = head if isinstance(head, (bytes, str)) else json.dumps(head)
        body = body if isinstance(body, (bytes, str)) else json.dumps(body)
        signed = f"{b64(head)}.{b64(body)}"
        signature = sign(signed.encode()) if sign else keys.rs(signed.encode(), signer)
        return f"{signed}.{b64(signature)}"

    def head(**change):
        return raw({**header, **change}, claims)

    def body(**change):
        return raw(header, {**claims, **change})

    def without(name):
        return raw(header, {key: value for key, value in claims.items() if key != name})

    def text(member):
        """Returns a token whose claims have one more member, given as JSON text, in place of one of the same name."""
        name = json.loads("{" + member + "}") if "Infinity" not in member and "\\ud8" not in member else {}
        rest = {key: value for key, value in claims.items() if key not in name}
        return raw(header, json.dumps(rest)[:-1] + "," + member + "}")

    good = raw(header, claims)
    first, second, signature = good.split(".")
    hs = lambda key, hash=hashlib.sha256: lambda message: hmac.new(key, message, hash).digest()

    yes, no = "accept", "reject"
    last_header = "this crate: no duplicate names; RFC 7515 §4 also allows a parser to use the last value"
    last_claim = "this crate: no duplicate names; RFC 7519 §4 also allows a parser to use the last value"
    no_bom = "this crate: no byte order mark; RFC 8259 §8.1 also allows a parser to ignore it"
    yield "payload: valid claims", good, yes, "RFC 7519 §7.2"
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "jwt"]:
        yield f"header: `typ` is `{json.dumps(typ)}`", head(typ=typ), yes, "RFC 9068 §4, RFC 7515 §4.1.9"
    yield "header: no `typ`", raw({"alg": "RS256", "kid": "k1"}, claims), yes, "RFC 7519 §5.1"
    yield "payload: `aud` is an array", body(aud=["https://x.example/", AUDIENCE]), yes, "RFC 7519 §4.1.3"
    yield "payload: `exp` is a fraction", body(exp=now + 600.5), yes, "RFC 7519 §2"
    yield "payload: `exp` has an exponent", text(f'"exp":{(now + 1000) / 1e9:.9f}e9'), yes, "RFC 7519 §2"
    yield "header: an unknown parameter (the payload also has an unknown claim)", raw({**header, "x": 1}, {**claims, "x": {"y": []}}), yes, "RFC 7515 §4"
    yield "encoding: white space in the JSON", raw(json.dumps(header, indent=2), json.dumps(claims, indent=2)), yes, "RFC 8259 §2"
    yield "payload: the name `sub` is written with an escape", text('"\\u0073ub":"somebody"'), yes, "RFC 8259 §8.3"
    yield "payload: `iat` is one hour in the future", body(iat=now + 3600), yes, "RFC 7519 erratum 7720"
    yield "key: the JWK has no `alg`", raw({**header, "kid": "noalg"}, claims, "noalg"), yes, "RFC 7517 §4.4"

    for alg in ["none", "None", "NONE", "nOnE"]:
        yield f"header: `alg` is `{json.dumps(alg)}`, without a signature", f"{b64(json.dumps({**header, 'alg': alg}))}.{second}.", no, "RFC 8725 §3.1"
    yield "header: `alg` is `\"none\"`, with the signature for RS256", f"{b64(json.dumps({**header, 'alg': 'none'}))}.{second}.{signature}", no, "RFC 8725 §3.1"
    yield "header: `alg` is `\"HS256\"`, and the public key is the secret", raw({**header, "alg": "HS256"}, claims, sign=hs(keys.pem("k1"))), no, "RFC 8725 §2.1"
    yield "header: `alg` is `\"HS256\"`, and the secret is empty", raw({**header, "alg": "HS256"}, claims, sign=hs(b"")), no, "RFC 7518 §3.2"
    yield "header: `alg` is `\"RS384\"`, and the key is for RS256", raw(
        {**header, "alg": "RS384"}, claims, sign=lambda m: keys.rs(m, hash=hashes.SHA384())), no, "RFC 8725 §3.1"
    yield "header: `alg` is `\"ES256\"`, and the key is not published", raw(
        {**header, "alg": "ES256"}, claims, sign=lambda m: keys.curve.sign(m, ec.ECDSA(hashes.SHA256()))), no, "RFC 8725 §3.1"
    yield "header: no `alg`", raw({"kid": "k1"}, claims), no, "RFC 7515 §4.1.1"
    for alg in ["rs256", "RS256 ", None, 1, ["RS256"]]:
        yield f"header: `alg` is `{json.dumps(alg)}`", head(alg=alg), no, "RFC 7515 §4.1.1"
    yield "header: `alg` occurs twice, both times `\"RS256\"`", raw('{"alg":"RS256","kid":"k1","alg":"RS256"}', claims), no, last_header
    yield "header: `alg` occurs twice, first `\"none\"`, then `\"RS256\"`", raw('{"alg":"none","kid":"k1","alg":"RS256"}', claims), no, last_header
    yield "header: an unknown parameter occurs twice", raw('{"alg":"RS256","kid":"k1","x":1,"x":2}', claims), no, last_header

    yield "header: `kid` is unknown", head(kid="k9"), no, "RFC 7515 §4.1.4"
    yield "header: `kid` of another key", head(kid="k2"), no, "RFC 7515 §4.1.4"
    yield "header: no `kid`, and several keys match", raw({"alg": "RS256"}, claims), yes, "this crate: without `kid`, up to four keys are tried; RFC 7515 §6 leaves the choice of the key open"
    yield "header: `kid` is `1`", head(kid=1), no, "RFC 7515 §4.1.4"
    yield "key: `use` of the JWK is `\"enc\"`", raw({**header, "kid": "enc"}, claims, "enc"), no, "RFC 7517 §4.2"
    yield "key: `key_ops` of the JWK is `[\"encrypt\"]`", raw({**header, "kid": "ops"}, claims, "ops"), no, "RFC 7517 §4.3"
    yield "key: `alg` of the JWK is `\"RS512\"`", raw({**header, "kid": "rs512"}, claims, "rs512"), no, "RFC 8725 §3.1"
    yield "key: an RSA key of 1024 bits", raw({**header, "kid": "weak"}, claims, "weak"), no, "RFC 7518 §3.3"
    yield "header: `jwk` is an unpublished key, which has signed the token", raw({**header, "jwk": keys.jwk("unpublished")}, claims, "unpublished"), no, "RFC 8725 §3.10"
    yield "header: `jku` is a URL of the attacker", raw({**header, "jku": "http://127.0.0.1:1/"}, claims, "unpublished"), no, "RFC 8725 §3.10"

    for crit in [["x"], [], ["exp"], "x", None]:
        yield f"header: `crit` is `{json.dumps(crit)}`", head(crit=crit, x=1), no, "RFC 7515 §4.1.11"
    for b in [False, True]:
        yield f"header: `b64` is `{json.dumps(b)}`", head(b64=b), no, "RFC 7797 §7"
    yield "header: `crit` is `[\"b64\"]`, and `b64` is `true`", head(b64=True, crit=["b64"]), no, "RFC 7797 §7"
    for typ in ["dpop+jwt", "logout+jwt", "secevent+jwt", "oauth-authz-req+jwt", "token-introspection+jwt", "id+jwt", 1]:
        yield f"header: `typ` is `{json.dumps(typ)}`", head(typ=typ), no, "RFC 8725 §3.12"
    yield "header: `cty` is `\"JWT\"`", head(cty="JWT"), no, "this crate: no nested tokens"

    flipped = bytearray(keys.rs(f"{first}.{second}".encode()))
    flipped[0] ^= 1
    yield "signature: one bit is flipped", f"{first}.{second}.{b64(bytes(flipped))}", no, "RFC 7515 §5.2"
    yield "signature: made with an unpublished key", raw(header, claims, "unpublished"), no, "RFC 7515 §5.2"
    yield "signature: empty", f"{first}.{second}.", no, "RFC 7515 §5.2"
    yield "encoding: the signature has padding (`==`)", good + "==", no, "RFC 7515 §2"
    yield "encoding: the header has padding", first + "=" * (-len(first) % 4 or 4) + f".{second}.{signature}", no, "RFC 7515 §2"
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    yield "encoding: unused bits of the last base64url character of the signature are set", good[:-1] + last[last.index(good[-1]) + 1], no, "this crate: unused bits are zero; RFC 4648 §3.5 lets a decoder choose"
    yield "encoding: the signature is base64 instead of base64url", f"{first}.{second}.{signature.replace('-', '+').replace('_', '/')}", no, "RFC 7515 §2"
    yield "encoding: a space between the segments", f"{first}.{second} .{signature}", no, "RFC 7515 §2"
    yield "encoding: dots are percent-encoded", good.replace(".", "%2E"), no, "RFC 7515 §3.1"
    yield "encoding: two segments", f"{first}.{second}", no, "RFC 7515 §3.1"
    yield "encoding: four segments", f"{good}.x", no, "RFC 7515 §3.1"
    yield "encoding: JSON serialization", json.dumps({"payload": second, "protected": first, "signature": signature}), no, "RFC 7519 §1"
    yield "encoding: JWE", f"{b64(json.dumps({'alg': 'dir', 'enc': 'A256GCM'}))}..{b64(bytes(12))}.AA.{b64(bytes(16))}", no, "RFC 8725 §3.3"

    for iss in [None, 1, [ISSUER], {"x": ISSUER}, "", ISSUER[:-1], ISSUER.upper(), "http://as.example/", ISSUER + "x",
                "https://as.example:443/", "https://other.example/"]:
        yield f"payload: `iss` is `{json.dumps(iss)}`", body(iss=iss), no, "RFC 9068 §4"
    yield "payload: no `iss`", without("iss"), no, "RFC 9068 §4"
    yield "payload: `iss` occurs twice, both times the expected value", raw(
        header, json.dumps(claims)[:-1] + ',"iss":"https://as.example/"}'), no, last_claim
    yield "payload: `sub` occurs twice, with different values", raw(header, json.dumps(claims)[:-1] + ',"sub":"admin"}'), no, last_claim
    for aud in [None, 1, [], {"x": AUDIENCE}, "", AUDIENCE[:-1], AUDIENCE + "x", "https://other.example/",
                [AUDIENCE, 1], [[AUDIENCE]], [None, AUDIENCE], AUDIENCE + " https://x.example/"]:
        yield f"payload: `aud` is `{json.dumps(aud)}`", body(aud=aud), no, "RFC 7519 §4.1.3"
    yield "payload: no `aud`", without("aud"), no, "RFC 9068 §4"
    for exp in ["past", None, str(now + 600), True, [now + 600], -1, 0]:
        value = now - 60 if exp == "past" else exp
        kind = "in the past" if exp == "past" else "a string of digits" if isinstance(exp, str) else f"`{json.dumps(exp)}`"
        yield f"payload: `exp` is {kind if exp != [now + 600] else 'an array'}", body(exp=value), no, "RFC 7519 §4.1.4"
    yield "payload: no `exp`", without("exp"), no, "RFC 9068 §4"
    for exp in ["1e400", "1e308", "18446744073709551616", "253402300800", "Infinity"]:
        yield f"payload: `exp` is `{exp}`", text(f'"exp":{exp}') if exp != "Infinity" else raw(
            header, json.dumps({k: v for k, v in claims.items() if k != "exp"})[:-1] + ',"exp":Infinity}'), no, "this crate: no date after the year 9999"
    for nbf in [now + 600, str(now - 60), None, [now - 60]]:
        kind = "in the future" if nbf == now + 600 else "a string of digits" if isinstance(nbf, str) else "`null`" if nbf is None else "an array"
        yield f"payload: `nbf` is {kind}", body(nbf=nbf), no, "RFC 7519 §4.1.5"
    yield "payload: `iat` is a string of digits", body(iat=str(now)), no, "RFC 7519 §4.1.6"
    yield "payload: `sub` is `1`", body(sub=1), no, "RFC 7519 §4.1.2"
    yield "payload: `cnf` binds the token to a DPoP key", body(cnf={"jkt": "x"}), no, "RFC 9449 §7.2"
    yield "payload: `at_hash` is present", body(at_hash="x"), no, "this crate: `at_hash` marks an ID token"

    array = [claims["exp"], now - 60, "somebody", ISSUER, AUDIENCE]
    for name, payload in [("an array", json.dumps(array)), ("a string", '"x"'), ("`null`", "null"), ("empty", ""), ("two objects", "{}{}")]:
        yield f"payload: it is {name}", raw(header, payload), no, "RFC 7519 §7.2"
    plain = json.dumps(claims)
    yield "encoding: the payload begins with a byte order mark", raw(header, "\ufeff" + plain), no, no_bom
    yield "encoding: the payload is UTF-16", raw(header, plain.encode("utf-16")), no, "RFC 8259 §8.1"
    yield "encoding: the payload has a byte that is not UTF-8", raw(header, plain.encode().replace(b"somebody", b"some\xffody")), no, "RFC 7519 §7.2"
    yield "encoding: the payload has a lone surrogate, `\\ud800`", raw(header, plain.replace("somebody", "\\ud800")), no, "this crate: no lone surrogates; RFC 8259 §8.2 leaves the result open"
    yield "encoding: the header begins with a byte order mark", raw("\ufeff" + json.dumps(header), claims), no, no_bom
    yield "size: a claim is nested 40 levels deep", raw(header, plain[:-1] + ',"x":' + "[" * 40 + "]" * 40 + "}"), no, "this crate: at most 32 levels"
    yield "size: a claim has 17 KiB", body(x="x" * 17 * 1024), no, "this crate: a token has at most 16 KiB"
