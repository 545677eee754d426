"""Certificate-bound tokens of oidc-provider, behind proxies that send the certificate of the client in a header."""

import base64
import hashlib
import json
import ssl
import subprocess
import urllib.parse

import certificates
import node
import proxies
from api import Api
from dpop import OAUTH_CLIENTS
from processes import Connection, wait_until
from servers import AUDIENCE


def certificates_behind_proxies(folder, server):
    """A token is accepted with its certificate, and not with another one, with none, or with a header of the client."""
    ours = certificates.client(server.certificates, "svc-mtls")
    other = certificates.client(server.certificates, "other")
    token = token_for(server, ours)
    for kind in proxies.ALL:
        name = f"mutual-tls-{kind.__name__}"
        extra = f'[api.mutual_tls]\ntrusted_proxies = ["127.0.0.1"]\nformat = "{kind.format}"\nheader = "{kind.header}"'
        api = Api(folder, name, server.issuer, AUDIENCE, ["RS256"], extra=extra)
        with api.start({"SSL_CERT_FILE": str(server.authority)}):
            proxy = kind(folder, server.certificates, api.origin).start()
            try:
                if wait_until(lambda: request(proxy.origin, "GET", "/livez", server.authority).status == 200) is None:
                    raise AssertionError(f"{proxy.name} did not start: {proxy.log.read_text()[-800:]}")
                check(proxy, token, ours, other)
                if kind is proxies.Traefik:
                    # OpenSSL adds the issuer of a certificate, if it trusts it, and Traefik forwards both.
                    chain = call(proxy, token, server.authority, ours)
                    assert chain.status == 400, f"Traefik with a chain: {chain.status} {chain.body[:200]}"
            finally:
                proxy.stop()


def clients_with_certificates(folder, server):
    """Each client gets a bound token over mutual TLS. The API accepts it with the certificate, which the script sends as a proxy would."""
    script = node.install("dpop") / "mtls.mjs"
    ours = certificates.client(server.certificates, "svc-mtls")
    other = certificates.client(server.certificates, "other")
    extra = '[api.mutual_tls]\ntrusted_proxies = ["127.0.0.1"]\nformat = "rfc9440"'
    api = Api(folder, "mutual-tls-clients", server.issuer, AUDIENCE, ["RS256"], extra=extra)
    with api.start({"SSL_CERT_FILE": str(server.authority)}):
        for library in OAUTH_CLIENTS:
            command = ["node", script, library, server.issuer, AUDIENCE, f"{api.origin}/me", server.authority, ours, other]
            result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
            assert result.returncode == 0, f"{library}: {result.stderr[-800:]}"
            found = json.loads(result.stdout)
            assert found["accepted"]["status"] == 200, f"{library}: {found}"
            claims = json.loads(found["accepted"]["body"])
            assert claims["sender_constraint"]["certificate"] == claims["cnf"], f"{library}: {claims}"
            for rejected in found["rejected"].values():
                is_right = rejected["status"] == 401 and rejected["challenge"].startswith('Bearer error="invalid_token"')
                assert is_right, f"{library}: {found}"


def check(proxy, token, ours, other):
    spoofed = {proxy.header: value_of(ours, proxy.format)}
    for case, certificate, headers, expected in [
        ("its certificate", ours, {}, 200),
        ("its certificate, and a header of the client", ours, {proxy.header: "x"}, 200),
        ("another certificate", other, {}, 401),
        ("another certificate, and a header of the client", other, spoofed, 401),
        ("no certificate", None, {}, 401),
        ("no certificate, and a header of the client", None, spoofed, 401),
    ]:
        response = call(proxy, token, proxy.certificate, certificate, headers)
        what = f"{proxy.name}, {case}: {response.status} {response.challenge} {response.body[:200]}"
        assert response.status == expected, what
        if expected == 200:
            claims = response.json()
            assert claims["sender_constraint"]["certificate"] == claims["cnf"], what
        else:
            assert response.challenge.startswith('Bearer error="invalid_token"'), what


def call(proxy, token, authority, certificate, headers=None):
    authorization = {"authorization": f"Bearer {token}"}
    return request(proxy.origin, "GET", "/me", authority, certificate, authorization | (headers or {}))


def value_of(certificate, form):
    """Returns what a proxy would send for a certificate."""
    pem = certificate.read_text()
    der = ssl.PEM_cert_to_DER_cert(pem)
    base64_der, digest = base64.b64encode(der).decode(), hashlib.sha256(der).hexdigest()
    values = {"pem": urllib.parse.quote(pem, safe="+/="), "rfc9440": f":{base64_der}:", "der": base64_der}
    return {**values, "sha256": digest, "xfcc": f"Hash={digest}"}[form]


def token_for(server, certificate):
    form = {"grant_type": "client_credentials", "client_id": "svc-mtls", "resource": AUDIENCE, "scope": "read:orders"}
    headers = {"content-type": "application/x-www-form-urlencoded"}
    url = urllib.parse.urlsplit(server.token_endpoint)
    origin, body = f"{url.scheme}://{url.netloc}", urllib.parse.urlencode(form)
    response = request(origin, "POST", url.path, server.authority, certificate, headers, body)
    assert response.status == 200, f"{server.name} returned no token: {response.status} {response.body[:300]}"
    return json.loads(response.body)["access_token"]


def request(origin, method, path, authority, certificate=None, headers=None, body=None):
    connection = Connection(origin, authority, certificate=certificate)
    try:
        return connection.send(method, path, headers, body)
    finally:
        connection.connection.close()
