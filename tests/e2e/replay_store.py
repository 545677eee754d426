"""Two processes of the example server record used DPoP proofs in one Redis, which is killed, paused, full and restarted."""

import json
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import node
from api import Api
from processes import Process, free_port, send, wait_until
from servers import AUDIENCE

PUBLIC_URL = "https://api.e2e.test"
# The status of a response, and the error of its challenge.
ACCEPTED, REPLAYED, UNAVAILABLE = (200, ""), (401, "invalid_dpop_proof"), (503, "")


def a_proof_counts_once_in_two_processes(folder, server):
    """A proof that one process has accepted is rejected by the other one, also after Redis was away."""
    redis = Redis(folder).start()
    proofs = Proofs(server)
    with two_servers(folder, server, redis, "refuse") as (one, other):
        for first, second in [(one, other), (other, one)]:
            used = proofs.next()
            expect("a new proof", call(first, used), ACCEPTED)
            expect("a replay in the other process", call(second, used), REPLAYED)
            expect("a replay in the same process", call(first, used), REPLAYED)
        race(proofs, one, other)

        redis.process.stop(signal.SIGKILL)
        unanswered = proofs.next()
        for _ in range(3):
            expect("Redis is killed", call(one, unanswered), UNAVAILABLE)
        redis.start()
        recovered("Redis is restarted", proofs, one, other)
        expect("a proof that Redis has not recorded", call(one, unanswered), ACCEPTED)
        expect("the same again", call(other, unanswered), REPLAYED)

        redis.command("CLIENT PAUSE 2000 ALL")
        expect("Redis is paused", call(one, proofs.next()), UNAVAILABLE)
        recovered("Redis continues", proofs, one, other)

        redis.command("CONFIG SET maxmemory 1")
        expect("Redis is full", call(one, proofs.next()), UNAVAILABLE)
        redis.command("CONFIG SET maxmemory 0")
        recovered("Redis has room", proofs, one, other)

        # The setting is read when a connection is opened.
        redis.command("CONFIG SET maxmemory-policy allkeys-lru")
        redis.command("CLIENT KILL TYPE normal")
        # The first request finds the connection closed.
        for _ in range(3):
            expect("Redis drops keys", call(one, proofs.next()), UNAVAILABLE)
        redis.command("CONFIG SET maxmemory-policy noeviction")
        recovered("Redis drops no keys", proofs, one, other)
        assert one.process.is_running() and other.process.is_running()
    redis.process.stop()


def with_the_fallback_each_process_detects_replays_alone(folder, server):
    """While Redis is away, each process accepts a proof once; then all of them together accept it once."""
    redis = Redis(folder).start()
    proofs = Proofs(server)
    with two_servers(folder, server, redis, "local") as (one, other):
        for interrupt, resume in [
            (lambda: redis.process.stop(signal.SIGKILL), redis.start),
            (lambda: redis.command("CONFIG SET maxmemory 1"), lambda: redis.command("CONFIG SET maxmemory 0")),
            (lambda: redis.process.child.send_signal(signal.SIGSTOP), lambda: redis.process.child.send_signal(signal.SIGCONT)),
        ]:
            interrupt()
            used = proofs.next()
            for api in [one, other]:
                expect("Redis is away", call(api, used), ACCEPTED)
                expect("Redis is away, a replay", call(api, used), REPLAYED)
            resume()
            recovered("Redis is back", proofs, one, other)
            for api in [one, other]:
                expect("a proof that was used meanwhile", call(api, used), REPLAYED)
        for api in [one, other]:
            assert "each process detects replays alone" in api.log.read_text(), "no warning"
    redis.process.stop()


class Redis:
    """A Redis server that stores nothing on disk."""

    def __init__(self, folder):
        self.folder, self.port, self.process = folder, free_port(), None

    def start(self):
        settings = {"--port": self.port, "--bind": "127.0.0.1", "--save": "", "--appendonly": "no", "--dir": self.folder}
        arguments = ["redis-server", *(word for setting in settings.items() for word in setting)]
        self.process = Process(arguments, self.folder / "redis.log")
        if wait_until(self.responds) is None:
            raise AssertionError(f"Redis did not start: {(self.folder / 'redis.log').read_text()[-800:]}")
        return self

    def responds(self):
        try:
            return self.command("PING") == "+PONG"
        except OSError:
            return False

    def command(self, line):
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(f"{line}\r\n".encode())
            response = connection.makefile("rb").readline().decode().strip()
        assert not response.startswith("-"), f"{line}: {response}"
        return response


class Proofs:
    """A token, and proofs for it. They are signed shortly before they are used."""

    def __init__(self, server):
        self.script = node.install("dpop") / "proofs.mjs"
        self.server, self.left = server, []

    def next(self):
        if not self.left:
            command = ["node", self.script, self.server.issuer, AUDIENCE, f"{PUBLIC_URL}/me", "20"]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout
            signed = json.loads(output)
            self.left = [(signed["token"], proof) for proof in signed["proofs"]]
        return self.left.pop()


class two_servers:
    """Two processes with the same configuration."""

    def __init__(self, folder, server, redis, fallback):
        replay = f'replay = "redis://127.0.0.1:{redis.port}"\nreplay_fallback = "{fallback}"'
        # The longest lifetime, so that a slow machine changes no result.
        extra = f'[api.dpop]\npublic_url = "{PUBLIC_URL}"\nlifetime = "300s"\n{replay}'
        name = f"replay-{fallback}"
        self.apis = [Api(folder, f"{name}-{at}", server.issuer, AUDIENCE, ["RS256"], extra=extra) for at in (1, 2)]

    def __enter__(self):
        return [api.start() for api in self.apis]

    def __exit__(self, *_):
        for api in self.apis:
            api.stop()


def call(api, credentials):
    token, proof = credentials
    response = send("GET", f"{api.origin}/me", {"authorization": f"DPoP {token}", "dpop": proof})
    if response.status == 503:
        assert response.headers.get("retry-after"), response.headers
    challenge = response.challenge or ""
    return response.status, "invalid_dpop_proof" if 'error="invalid_dpop_proof"' in challenge else ""


def expect(what, found, expected):
    assert found == expected, f"{what}: {found}, not {expected}"


def recovered(what, proofs, one, other):
    """Both processes accept new proofs again, and know those of each other."""

    def is_shared(first, second):
        used = proofs.next()
        return call(first, used) == ACCEPTED and call(second, used) == REPLAYED

    for first, second in [(one, other), (other, one)]:
        if wait_until(lambda: is_shared(first, second)) is None:
            raise AssertionError(f"{what}, but a proof is not accepted once in both processes")


def race(proofs, one, other):
    """Of concurrent requests with one proof to both processes, one is accepted."""
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            used = proofs.next()
            found = list(pool.map(lambda at: call([one, other][at % 2], used), range(8)))
            assert sorted(found) == [ACCEPTED] + [REPLAYED] * 7, found


SCENARIOS = [a_proof_counts_once_in_two_processes, with_the_fallback_each_process_detects_replays_alone]
