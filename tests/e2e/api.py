"""The API under test: an example of this crate with a configuration."""

import json
import pathlib
import re

from processes import Process, send, wait_until


class Api:
    """`examples/server` with one issuer."""

    binaries = {}

    def __init__(self, folder, name, issuer, audience, algorithms, **more):
        self.folder = pathlib.Path(folder)
        self.path = self.folder / f"{name}.toml"
        self.log = self.folder / f"{name}.log"
        self.path.write_text(configuration(issuer, audience, algorithms, **more))
        self.process = None
        self.origin = None

    def start(self, environment=None, ready=True):
        self.log.write_text("")
        variables = {"RUST_LOG": "tower_bearer=debug", "NO_COLOR": "1", **(environment or {})}
        self.process = Process([self.binaries["server"], self.path], self.log, variables)
        self.origin = listening(self.process)
        if ready and wait_until(lambda: self.get("/readyz").status == 200) is None:
            raise AssertionError(f"not ready: {self.log.read_text()[-800:]}")
        return self

    def get(self, path, token=None, method="GET"):
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return send(method, self.origin + path, headers)

    def stop(self, *arguments, **limit):
        return self.process.stop(*arguments, **limit)

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, *_):
        self.stop()


def listening(process):
    """Waits for the origin that an example prints, and returns it."""

    def announced():
        return re.search(r"listening on (http\S+)", pathlib.Path(process.log).read_text())

    wait_until(lambda: announced() or not process.is_running())
    found = announced()
    if not found:
        raise AssertionError(f"did not start: {pathlib.Path(process.log).read_text()[-800:]}")
    return found.group(1)


def configuration(issuer, audience, algorithms, profile="any", extra="", jwks="", listen="127.0.0.1:0"):
    return "\n".join(
        [
            f'listen = "{listen}"',
            "[api]",
            f"audience = {json.dumps(audience)}",
            f'profile = "{profile}"',
            "[[api.issuer]]",
            f"domains = [{json.dumps(issuer)}]",
            f"algorithms = {json.dumps(algorithms)}",
            extra,
            "[jwks]",
            jwks,
        ]
    )
