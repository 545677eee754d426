"""Starts each example and checks that all of them answer 200, 401 and 403 with the same challenge.

    cargo build && python3 check.py [target directory]
"""

import http.client
import http.server
import json
import os
import socket
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "target"))
INVALID = (
    'Bearer realm="northwind", error="invalid_token", '
    'error_description="the access token is malformed, expired, or not valid here"'
)
EXPECTED = {
    "no token": (401, 'Bearer realm="northwind"'),
    "two tokens": (400, 'Bearer realm="northwind", error="invalid_request"'),
    "invalid token": (401, INVALID),
    "token without scope": (403, 'Bearer realm="northwind", error="insufficient_scope", scope="read:orders"'),
    "token": (200, None),
}


def cases(tokens):
    """Returns the values of `Authorization` for each case."""
    good = f"Bearer {tokens['token']}"
    return {
        "no token": [],
        "two tokens": [good, good],
        "invalid token": [good[:-8] + "AAAAAAAA"],
        "token without scope": [f"Bearer {tokens['token without scope']}"],
        "token": [good],
    }


def start(name, **env):
    """Starts an example; returns the process and what it prints, by its first words."""
    binary = os.path.join(TARGET, "debug", name)
    process = subprocess.Popen([binary], stdout=subprocess.PIPE, text=True, env={**os.environ, **env})
    printed = {}
    last = "token without scope" if env else "listening on"
    while last not in printed:
        line = process.stdout.readline()
        assert line, f"{name} has ended"
        words, _, value = line.strip().rpartition(" ")
        printed[words] = value
    return process, printed


def send(address, path, fields):
    """Sends a GET request with these header fields; returns status, challenge and headers."""
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.putrequest("GET", path)
    for name, value in fields:
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    if response.status != 101:
        response.read()
    challenges = response.headers.get_all("www-authenticate") or [None]
    assert len(challenges) == 1, challenges
    connection.close()
    return (response.status, challenges[0]), response.headers


def over_http(name):
    process, printed = start(name)
    try:
        address = printed["listening on"].removeprefix("http://")
        seen = {
            case: send(address, "/orders", [("Authorization", value) for value in values])[0]
            for case, values in cases(printed).items()
        }
        if name == "websocket":
            handshakes(address, printed)
        return seen
    finally:
        process.terminate()
        process.wait(10)


def handshakes(address, printed):
    """Checks the WebSocket handshake, with the token as a subprotocol."""
    handshake = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    for case, (status, challenge) in {**EXPECTED, "token": (101, None)}.items():
        values = [value.replace("Bearer ", "orders, bearer.") for value in cases(printed)[case]]
        seen, headers = send(address, "/events", handshake + [("Sec-WebSocket-Protocol", value) for value in values])
        assert seen == (status, challenge), (case, seen)
        if status == 101:
            assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", headers
            assert headers["sec-websocket-protocol"] == "orders", headers
    # The server must not select a subprotocol that the client has not offered.
    alone = [("Sec-WebSocket-Protocol", f"ordersx, bearer.{printed['token']}")]
    (status, _), headers = send(address, "/events", handshake + alone)
    assert status == 101 and "sec-websocket-protocol" not in headers, headers
    messages(address, printed["token for five seconds"], handshake)


def messages(address, token, handshake):
    """Sends two messages over a WebSocket, and checks that the server closes it when the token expires."""
    host, port = address.split(":")
    fields = handshake + [("Host", address), ("Authorization", f"Bearer {token}")]
    head = "GET /events HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection, connection.makefile("rb") as stream:
        connection.sendall(head.encode())
        assert stream.readline().startswith(b"HTTP/1.1 101 ")
        while stream.readline() != b"\r\n":
            pass
        for _ in range(2):
            # A text frame "hi", masked with zeros (RFC 6455 §5.2).
            connection.sendall(bytes([0x81, 0x80 | 2, 0, 0, 0, 0]) + b"hi")
            assert frame(stream) == (1, b"ann")
        opcode, payload = frame(stream)
        assert (opcode, payload[:2]) == (8, (3000).to_bytes(2, "big")), (opcode, payload)
        assert payload[2:] == b"the token has expired", payload


def frame(stream):
    """Reads a short frame that is not masked; returns its opcode and payload."""
    first, length = stream.read(2)
    assert first & 0x80 and length < 126, (first, length)
    return first & 0x0F, stream.read(length)


class Runtime(http.server.BaseHTTPRequestHandler):
    """The runtime API of AWS Lambda: hands out each event and collects the responses."""

    protocol_version = "HTTP/1.1"
    ready, events, responses = threading.Event(), [], {}

    def do_GET(self):
        self.ready.wait()
        if not self.events:
            threading.Event().wait()
        case, event = self.events.pop(0)
        self.answer(200, json.dumps(event), {"Lambda-Runtime-Aws-Request-Id": case, "Lambda-Runtime-Deadline-Ms": "99999999999999"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or "{}")
        self.responses[self.path.split("/")[-2]] = body
        self.answer(202, "{}", {})

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def event(values):
    """An event of API Gateway (payload format 2.0), which joins repeated fields by commas."""
    return {
        "version": "2.0",
        "routeKey": "GET /orders",
        "rawPath": "/orders",
        "rawQueryString": "",
        "headers": {"host": "api.northwind.com", **({"authorization": ",".join(values)} if values else {})},
        "requestContext": {
            "accountId": "1", "apiId": "a", "domainName": "api.northwind.com", "domainPrefix": "api", "requestId": "r",
            "routeKey": "GET /orders", "stage": "$default", "time": "29/Nov/2026:00:00:00 +0000", "timeEpoch": 1,
            "http": {"method": "GET", "path": "/orders", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "a"},
        },
        "isBase64Encoded": False,
    }


def over_lambda(name):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Runtime)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    api = f"127.0.0.1:{server.server_address[1]}"
    process, printed = start(
        name, AWS_LAMBDA_RUNTIME_API=api, AWS_LAMBDA_FUNCTION_NAME=name, AWS_LAMBDA_FUNCTION_MEMORY_SIZE="128",
        AWS_LAMBDA_FUNCTION_VERSION="1", AWS_LAMBDA_LOG_STREAM_NAME="a", AWS_LAMBDA_LOG_GROUP_NAME="a",
    )
    try:
        Runtime.events = [(case.replace(" ", "-"), event(values)) for case, values in cases(printed).items()]
        expected = len(Runtime.events)
        Runtime.ready.set()
        for _ in range(100):
            if len(Runtime.responses) == expected:
                break
            process.poll() is None or sys.exit(f"{name} has ended")
            threading.Event().wait(0.1)
        seen = {}
        for case, response in Runtime.responses.items():
            fields = {**response["headers"], **{k: v[0] for k, v in response["multiValueHeaders"].items()}}
            seen[case.replace("-", " ")] = (response["statusCode"], fields.get("www-authenticate"))
        return seen
    finally:
        process.kill()
        process.wait(10)


for name, run in {"actix-web": over_http, "websocket": over_http, "lambda": over_lambda}.items():
    seen = run(name)
    assert seen == EXPECTED, f"{name}: {seen}"
    print(f"{name}: {', '.join(f'{case} {status}' for case, (status, _) in seen.items())}")
