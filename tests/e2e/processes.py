"""Processes that end with the suite, free ports, and HTTP without exceptions."""

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
    """One child process, ended by its own id."""

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

    def stop(self, how=signal.SIGTERM, seconds=10):
        """Ends the process and returns its exit status; one that does not end in time is killed."""
        if self.is_running():
            self.child.send_signal(how)
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


def wait_until(holds, seconds=15.0, pause=0.05):
    """Returns the seconds it took until `holds()` is true, or None."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        if holds():
            return time.monotonic() - start
        time.sleep(pause)
    return None


@dataclass
class Answer:
    """A response; status 0 stands for none."""

    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)

    @property
    def challenge(self):
        return self.headers.get("www-authenticate")


class Connection:
    """One kept-alive connection to an origin."""

    def __init__(self, origin, authority=None, timeout=20):
        url = urllib.parse.urlsplit(origin)
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=authority)
            self.connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=timeout, context=context)
        else:
            self.connection = http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)

    def ask(self, method, path, headers=None, body=None):
        try:
            self.connection.request(method, path, body=body, headers=headers or {})
            response = self.connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            return Answer(0, {}, repr(error).encode())


def ask(method, url, headers=None, body=None, authority=None):
    parts = urllib.parse.urlsplit(url)
    path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    connection = Connection(f"{parts.scheme}://{parts.netloc}", authority)
    try:
        return connection.ask(method, path, headers, body)
    finally:
        connection.connection.close()
