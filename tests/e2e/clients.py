"""Third-party clients: curl over HTTP/1.1 and HTTP/2, gRPC from Node.js, and a cross-origin page in Chromium."""

import functools
import http.server
import json
import re
import subprocess
import threading

import node
from api import Api, listening
from hand_made import Key
from processes import Process, wait_until

PAGE = """<!doctype html><pre id=result></pre><script type=module>
const api = %r, token = %r, bound = %r, jwk = %s;
const call = async (headers) => {
  const response = await fetch(api + '/orders', { headers });
  const [challenge, nonce] = ['www-authenticate', 'dpop-nonce'].map((name) => response.headers.get(name));
  return { status: response.status, challenge, nonce, body: await response.json() };
};
const encode = (data) => btoa(String.fromCharCode(...new Uint8Array(data))).replace(/\\+/g, '-').replace(/\\//g, '_').replace(/=/g, '');
const bytes = (text) => new TextEncoder().encode(text);
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const key = await crypto.subtle.importKey('jwk', jwk, algorithm, false, ['sign']);
const withProof = async (nonce) => {
  const { kty, crv, x, y } = jwk;
  const ath = encode(await crypto.subtle.digest('SHA-256', bytes(bound)));
  const claims = { jti: crypto.randomUUID(), htm: 'GET', htu: api + '/orders', iat: Math.floor(Date.now() / 1000), ath, nonce };
  const parts = [{ typ: 'dpop+jwt', alg: 'ES256', jwk: { kty, crv, x, y } }, claims];
  const text = parts.map((part) => encode(bytes(JSON.stringify(part)))).join('.');
  const dpop = text + '.' + encode(await crypto.subtle.sign(algorithm, key, bytes(text)));
  return call({ authorization: 'DPoP ' + bound, dpop });
};
const responses = [await call({}), await call({ authorization: 'Bearer nonsense' }), await call({ authorization: 'Bearer ' + token })];
responses.push(await withProof());
responses.push(await withProof(responses[3].nonce), await call({ authorization: 'Bearer ' + bound }));
document.getElementById('result').textContent = JSON.stringify(responses);
</script>"""


def curl_over_both_versions(folder, _server):
    """Status and challenge are the same over HTTP/1.1 and HTTP/2."""
    process = Process([Api.binaries["hyper"], "127.0.0.1:0"], folder / "hyper.log")
    command_line = found(process, r"curl -i (\S+) -H '(.*)'")
    for flag, version in (("--http1.1", "HTTP/1.1"), ("--http2-prior-knowledge", "HTTP/2")):
        for header, status, challenge in (
            (command_line[2], "200", None),
            ("x-none: 1", "401", "www-authenticate: bearer"),
            ("authorization: Bearer x.y.z", "401", 'www-authenticate: bearer error="invalid_token"'),
            ("authorization: Bearer a b", "400", 'www-authenticate: bearer error="invalid_request"'),
        ):
            command = ["curl", "--silent", "--include", "--noproxy", "*", "--max-time", "10", flag, command_line[1], "-H", header]
            head = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.lower()
            assert head.startswith(f"{version} {status}".lower()), f"{flag} {header[:30]}: {head[:80]}"
            assert (challenge or "") in head, f"{flag} {header[:30]}: {head}"
            assert (challenge is None) == ("www-authenticate" not in head), head
    process.stop()


def grpc_from_nodejs(folder, _server):
    """The gRPC library of Node.js gets a rejection as a status, and the channel stays usable."""
    process = Process([Api.binaries["tonic"], "--serve"], folder / "tonic.log")
    address = listening(process).removeprefix("http://")
    kinds = ["a good token", "no token", "an expired token", "a token without the scope"]
    tokens = [found(process, rf"{kind} = (\S*)\n")[1] for kind in kinds]
    client = node.install("grpc") / "client.mjs"
    command = ["node", client, address, *tokens, "nonsense", tokens[0]]
    responses = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout)
    statuses = [response["status"] for response in responses]
    rejected = "UNAUTHENTICATED"
    assert statuses == ["OK", rejected, rejected, "PERMISSION_DENIED", rejected, "OK"], responses
    assert responses[0]["reply"] == "hello, ann", responses[0]
    process.stop()


def cross_origin_page(folder, _server):
    """A cross-origin page calls the API with `fetch`: preflights succeed, and the challenge and the nonce of a rejection are readable."""
    site = folder / "site"
    site.mkdir()
    handler = functools.partial(SilentFileServer, directory=site)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://localhost:{server.server_port}"
    key = Key(folder / "page.key")
    process = Process([Api.binaries["browser"], origin, key.thumbprint()], folder / "browser.log")
    api, token, bound = listening(process), found(process, r"(?m)^token (\S+)")[1], found(process, r"bound token (\S+)")[1]
    (site / "index.html").write_text(PAGE % (api, token, bound, json.dumps(key.private_jwk())))
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/chromium"]
    command = ["chromium", *flags, "--virtual-time-budget=10000", "--dump-dom", f"{origin}/index.html"]
    document = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=120)
    server.shutdown()
    process.stop()
    responses = json.loads(re.search(r"<pre id=\"result\">(.*?)</pre>", document.stdout)[1])
    assert [response["status"] for response in responses] == [401, 401, 200, 401, 200, 401], responses
    assert responses[0]["challenge"].startswith('Bearer realm="northwind", DPoP '), responses[0]
    assert 'Bearer realm="northwind", error="invalid_token"' in responses[1]["challenge"], responses[1]
    assert 'error="use_dpop_nonce"' in responses[3]["challenge"] and responses[3]["nonce"], responses[3]
    assert responses[5]["challenge"].startswith("Bearer "), responses[5]
    for accepted in [responses[2], responses[4]]:
        assert accepted["body"] == {"orders": [], "for": "ann"}, accepted


def found(process, pattern):
    """Waits until the output of an example matches the pattern, and returns the match."""
    wait_until(lambda: re.search(pattern, process.log.read_text()))
    match = re.search(pattern, process.log.read_text())
    assert match, process.log.read_text()[-500:]
    return match


class SilentFileServer(http.server.SimpleHTTPRequestHandler):
    """A file server without a log."""

    def log_message(self, *_):
        pass
