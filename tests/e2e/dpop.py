"""Clients of other authors get DPoP-bound tokens from oidc-provider and call the API with them."""

import json
import os
import subprocess

import node
import proxies
from api import Api
from processes import free_port, send, wait_until
from servers import AUDIENCE

LIBRARIES = ["oauth4webapi-387", "oauth4webapi-388", "openid-client"]


def clients_with_proofs(folder, server):
    """With and without nonces, with bearer tokens allowed and rejected, each client reaches the API; a stolen token does not."""
    script = node.install("dpop") / "client.mjs"
    for required in ["false", "true"]:
        for nonces in ["", 'nonce_secrets = [{ text = "thirty-two bytes or more for nonces" }]']:
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            extra = f'[api.dpop]\npublic_url = "{url}"\nrequired = {required}\n{nonces}'
            listen = f"127.0.0.1:{port}"
            with Api(folder, f"dpop-{port}", server.issuer, AUDIENCE, ["RS256"], extra=extra, listen=listen):
                for library in LIBRARIES:
                    check(call(script, library, server, url), f"{library}, required {required}, {nonces or 'no nonces'}", nonces)


def proofs_behind_proxies(folder, server):
    """Behind each proxy, which terminates TLS on another port and may remove a prefix, clients sign the URL of the proxy."""
    script = node.install("dpop") / "client.mjs"
    for kind in proxies.ALL:
        for prefix in ["", "/shop/v1"]:
            port = free_port()
            proxy = kind(folder, server.certificates, f"http://127.0.0.1:{port}", prefix)
            extra = f'[api.dpop]\npublic_url = "{proxy.url}"'
            name = f"dpop-{proxy.name}-{port}"
            api = Api(folder, name, server.issuer, AUDIENCE, ["RS256"], extra=extra, listen=f"127.0.0.1:{port}")
            with api.start({"SSL_CERT_FILE": str(server.authority)}):
                proxy.start()
                try:
                    is_ready = lambda: send("GET", f"{proxy.url}/livez", authority=server.authority).status == 200
                    if wait_until(is_ready) is None:
                        raise AssertionError(f"{proxy.name} did not start: {proxy.log.read_text()[-800:]}")
                    for library in LIBRARIES:
                        found = call(script, library, server, proxy.url, {"NODE_EXTRA_CA_CERTS": str(server.authority)})
                        check(found, f"{library} behind {proxy.name}, prefix {prefix!r}", nonces="")
                finally:
                    proxy.stop()


def call(script, library, server, url, environment=None):
    command = ["node", script, library, server.issuer, AUDIENCE, f"{url}/me", server.client_authentication]
    variables = {**os.environ, **(environment or {})}
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, env=variables)
    assert result.returncode == 0, f"{library}: {result.stderr[-800:]}"
    return json.loads(result.stdout)


def check(result, what, nonces):
    # openid-client repeats the request for the nonce itself.
    expected = [[200, 200], [401, 200, 200]] if nonces else [[200, 200]]
    assert result["statuses"] in expected, f"{what}: {result}"
    assert result["type"].lower() == "dpop", f"{what}: {result}"
    assert result["claims"]["sender_constraint"]["dpop"]["jkt"] == result["claims"]["cnf"]["jkt"], f"{what}: {result}"
    assert result["bearer"]["status"] == 401 and "DPoP" in result["bearer"]["challenge"], f"{what}: {result}"
