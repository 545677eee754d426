"""Child processes that end with the suite, free ports, and HTTP requests without exceptions."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.parse
from dataclasses import dataclass

STARTED = []


class Process:
    """A child process."""

    def __init__(self, arguments, log, environment=None):
        self.log = log
        with open(log, "ab") as output:
            self.child = subprocess.Popen(
                [str(argument) for argument in arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
            )
        STARTED.append(self)

    def is_running(self):
        return self.child.poll() is None

    def stop(self, signal_number=signal.SIGTERM, seconds=10):
        """Ends the process and returns its exit status, or kills it and returns None if it does not end in time."""
        if self.is_running():
            self.child.send_signal(signal_number)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            return None


def stop_all():
    for process in reversed(STARTED):
        process.stop(signal.SIGKILL)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, seconds=15.0, pause=0.05):
    """Returns the seconds until `condition()` is true, or None after the timeout."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        if condition():
            return time.monotonic() - start
        time.sleep(pause)
    return None


@dataclass
class Response:
    """A response; status 0 means that there was none."""

    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)

    @property
    def challenge(self):
        return self.headers.get("www-authenticate")


class Connection:
    """A keep-alive connection to an origin."""

    def __init__(self, origin, authority=None, timeout=20, certificate=None):
        """`certificate` is the file with the certificate of the client; its key is in the file with the suffix `.key`."""
        url = urllib.parse.urlsplit(origin)
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=authority)
            # The authority may be the certificate of the server itself.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            if certificate:
                context.load_cert_chain(certificate, certificate.with_suffix(".key"))
            self.connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=timeout, context=context)
        else:
            self.connection = http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)

    def send(self, method, path, headers=None, body=None):
        try:
            self.connection.request(method, path, body=body, headers=headers or {})
            response = self.connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Response(response.status, names, response.read())
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            return Response(0, {}, repr(error).encode())


def send(method, url, headers=None, body=None, authority=None):
    parts = urllib.parse.urlsplit(url)
    path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    connection = Connection(f"{parts.scheme}://{parts.netloc}", authority)
    try:
        return connection.send(method, path, headers, body)
    finally:
        connection.connection.close()
