"""Clients of other authors get DPoP-bound tokens from oidc-provider and call the API with them."""

import contextlib
import json
import os
import subprocess

import node
import proxies
import python
from api import Api
from hand_made import HandMade
from processes import free_port, send, wait_until
from servers import AUDIENCE

OAUTH_CLIENTS = ["oauth4webapi-387", "oauth4webapi-388", "openid-client"]
# `dpop` makes proofs only.
LIBRARIES = [*OAUTH_CLIENTS, "dpop"]
# Those with a setting for a wrong clock.
WITH_CLOCK = ["oauth4webapi-388", "openid-client"]
NONCES = 'nonce_secrets = [{ text = "thirty-two bytes or more for nonces" }]'


def clients_with_proofs(folder, server):
    """With and without nonces, with bearer tokens allowed and rejected, each client reaches the API; a stolen token does not."""
    for required in ["false", "true"]:
        for nonces in ["", NONCES]:
            with api(folder, server, f"required = {required}\n{nonces}") as url:
                for library in LIBRARIES:
                    check(call(library, server, url), f"{library}, required {required}, {nonces or 'no nonces'}", nonces)


def clients_with_a_nonce_of_the_authorization_server(folder, server):
    """The authorization server and the API each require a nonce, which is not that of the other one."""
    with api(folder, server, NONCES) as url:
        server.control("nonce?on=1")
        try:
            for library in LIBRARIES:
                server.request_counts()
                check(call(library, server, url), f"{library}, nonces of both", NONCES)
                requests = server.request_counts()["/token"]
                assert requests == 2, f"{library}: {requests} requests for a token"
        finally:
            server.control("nonce?on=0")


def clients_with_a_wrong_clock(folder, server):
    """Without nonces, proofs are accepted from 90 s ago to 30 s ahead; with nonces, the clock of the client does no harm."""
    for nonces, accepted, rejected in [("", [-60, 20], [-3600, 3600]), (NONCES, [-3600, 3600], [])]:
        with api(folder, server, nonces) as url:
            for library in WITH_CLOCK:
                for seconds in accepted:
                    result = call(library, server, url, seconds=seconds)
                    check(result, f"{library}, {seconds} s, {nonces or 'no nonces'}", nonces)
                for seconds in rejected:
                    result = call(library, server, url, seconds=seconds)
                    assert result["statuses"] == [401, 401], f"{library}, {seconds} s: {result}"
                    assert 'DPoP error="invalid_dpop_proof"' in result["challenge"], f"{library}, {seconds} s: {result}"


def curl_with_hand_made_proofs(folder, server):
    """The results of a list of proofs that are made by hand, signed by OpenSSL and sent by curl."""
    client = HandMade(folder, server)
    with api(folder, server, "") as url:
        client.check_each_proof(url)
    with api(folder, server, NONCES) as url:
        client.check_nonces(url)


def python_client_with_proofs(folder, server):
    """requests-oauth2client reaches the API, with and without nonces of the API and of the authorization server."""
    interpreter = python.install("requests-oauth2client", "requests-oauth2client==1.8.0")
    for nonces in ["", NONCES]:
        with api(folder, server, nonces) as url:
            for of_server in ["0", "1"]:
                server.control(f"nonce?on={of_server}")
                command = [interpreter, python.HERE / "dpop/client.py", server.token_endpoint, AUDIENCE, f"{url}/me"]
                try:
                    found = json.loads(output(command, "requests-oauth2client"))
                finally:
                    server.control("nonce?on=0")
                check(found, f"requests-oauth2client, {nonces or 'no nonces'}, nonces of the server {of_server}", nonces)


def mutated_proofs_and_another_implementation(folder, server):
    """Of 10,000 proofs with random changes, oauth4webapi accepts each one that the API accepts, but for the explained differences."""
    script = node.install("dpop") / "mutations.mjs"
    with api(folder, server, "") as url:
        result = json.loads(output(["node", script, server.issuer, AUDIENCE, f"{url}/me", "10000"], "mutations", seconds=600))
    counts = {name: result[name] for name in ["seed", "both", "neither", "only_other", "explained"]}
    print(f"        {counts}", flush=True)
    assert not result["unexplained"], f"seed {result['seed']}: {json.dumps(result['unexplained'][:5])}"
    assert result["both"] > 1000 and result["neither"] > 3000, counts


def proofs_behind_proxies(folder, server):
    """Behind each proxy, which terminates TLS on another port and may remove a prefix, clients sign the URL of the proxy. With two public
    URLs, the host that the proxy passes on selects one of them, and a proof for the other one is rejected."""
    environment = {"SSL_CERT_FILE": str(server.authority)}
    for kind in proxies.ALL:
        hand_made = HandMade(folder, server)
        for prefix in ["", "/shop/v1"]:
            port = free_port()
            proxy = kind(folder, server.certificates, f"http://127.0.0.1:{port}", prefix).start()
            try:
                with api(folder, server, "", port, proxy.url, environment):
                    wait_for_api_behind(proxy, server)
                    for library in LIBRARIES:
                        check_behind(proxy, library, server)
                with api(folder, server, "", port, [proxy.url, proxy.other_url], environment):
                    wait_for_api_behind(proxy, server)
                    check_behind(proxy, LIBRARIES[0], server)
                    hand_made.check_hosts([proxy.url, proxy.other_url], f"behind {proxy.name}")
            finally:
                proxy.stop()


QUICK = [
    clients_with_proofs,
    clients_with_a_nonce_of_the_authorization_server,
    clients_with_a_wrong_clock,
    curl_with_hand_made_proofs,
]
SLOW = [python_client_with_proofs, mutated_proofs_and_another_implementation]


@contextlib.contextmanager
def api(folder, server, settings, port=None, url=None, environment=None):
    """Starts the API with these settings of DPoP. Returns its public URL, or a list of them, which is that of its port by default."""
    port = port or free_port()
    url = url or f"http://127.0.0.1:{port}"
    extra = f"[api.dpop]\npublic_url = {json.dumps(url)}\n{settings}"
    server_under_test = Api(folder, f"dpop-{port}", server.issuer, AUDIENCE, ["RS256"], extra=extra, listen=f"127.0.0.1:{port}")
    with server_under_test.start(environment):
        yield url


def wait_for_api_behind(proxy, server):
    is_ready = lambda: send("GET", f"{proxy.url}/livez", authority=server.authority).status == 200
    if wait_until(is_ready) is None:
        raise AssertionError(f"{proxy.name} did not start: {proxy.log.read_text()[-800:]}")


def check_behind(proxy, library, server):
    found = call(library, server, proxy.url, environment={"NODE_EXTRA_CA_CERTS": str(server.authority)})
    check(found, f"{library} behind {proxy.name}, prefix {proxy.prefix!r}", nonces="")


def call(library, server, url, environment=None, seconds=0):
    script = node.install("dpop") / "client.mjs"
    arguments = [library, server.issuer, AUDIENCE, f"{url}/me", server.client_authentication, str(seconds)]
    return json.loads(output(["node", script, *arguments], library, environment))


def output(command, what, environment=None, seconds=60):
    variables = {**os.environ, **(environment or {})}
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=seconds, env=variables)
    assert result.returncode == 0, f"{what}: {result.stderr[-800:]}"
    return result.stdout


def check(result, what, nonces):
    # Some clients repeat the request for the nonce themselves.
    expected = [[200, 200], [401, 200, 200]] if nonces else [[200, 200]]
    assert result["statuses"] in expected, f"{what}: {result}"
    assert result["type"].lower() == "dpop", f"{what}: {result}"
    assert result["claims"]["sender_constraint"]["dpop"]["jkt"] == result["claims"]["cnf"]["jkt"], f"{what}: {result}"
    assert result["bearer"]["status"] == 401 and "DPoP" in result["bearer"]["challenge"], f"{what}: {result}"
