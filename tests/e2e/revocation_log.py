"""Processes of the example server that share their revocations over a real Redis, with the faults that a Redis has.

    python3 tests/e2e/revocation_log.py <example server> [seconds of the soak test]

Needs `redis-server` and `openssl`. Every server is started on a free port of loopback and ended by its process id. Entries are also
written by this program, so that the format of the stream has two implementations.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import certificates
from api import listening
from processes import Connection, Process, free_port, send, stop_all, wait_until

SECRET = "0123456789abcdef0123456789abcdef"
ISSUER = "https://hs.test/"
OTHER = "https://other.test/"
AUDIENCE = "https://api.test/"
KEY = "tb:revocations"
PUBLIC_URL = "https://api.test"
GUIDE = pathlib.Path(__file__).parents[2] / "src/guide/revocation.md"


def encoded(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def signed(header, payload, sign):
    text = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(payload).encode())}"
    return f"{text}.{encoded(sign(text.encode()))}"


def token(**claims):
    """Returns a token that expires in an hour."""
    now = int(time.time())
    payload = {"iss": ISSUER, "aud": AUDIENCE, "iat": now - 60, "exp": now + 3600, "sub": "ann", **claims}
    return signed({"alg": "HS256", "typ": "JWT"}, payload, lambda text: hmac.digest(SECRET.encode(), text, hashlib.sha256))


class ProofKey:
    """A key of a client, which signs DPoP proofs (RFC 9449)."""

    def __init__(self, folder):
        self.path = folder / "proof.key"
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.path)
        # The coordinates are at the end of the DER.
        point = openssl("ec", "-in", self.path, "-pubout", "-outform", "DER")[-64:]
        self.jwk = {"crv": "P-256", "kty": "EC", "x": encoded(point[:32]), "y": encoded(point[32:])}
        # RFC 7638: the members in this order, without spaces.
        self.thumbprint = encoded(hashlib.sha256(json.dumps(self.jwk, separators=(",", ":")).encode()).digest())

    def proof(self, jti, bound):
        """Returns a new proof for `GET /me` and a token."""
        ath = encoded(hashlib.sha256(bound.encode()).digest())
        payload = {"jti": jti, "htm": "GET", "htu": f"{PUBLIC_URL}/me", "iat": int(time.time()), "ath": ath}
        return signed({"alg": "ES256", "typ": "dpop+jwt", "jwk": self.jwk}, payload, self.sign)

    def sign(self, text):
        """Returns `r` and `s` of 32 bytes each, which OpenSSL writes as DER."""
        der = openssl("dgst", "-sha256", "-sign", self.path, stdin=text)
        numbers, at = b"", 2
        for _ in range(2):
            length = der[at + 1]
            numbers += der[at + 2 : at + 2 + length][-32:].rjust(32, b"\0")
            at += 2 + length
        return numbers


def openssl(*arguments, stdin=None):
    output = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True, timeout=60)
    return output.stdout


class Redis:
    """A Redis on a free port."""

    def __init__(self, folder, *arguments, port=None):
        self.folder, self.arguments = folder, arguments
        self.port = port or free_port()
        self.process = None

    def start(self):
        plain = [] if "--port" in self.arguments else ["--port", self.port]
        arguments = ["redis-server", *plain, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", self.folder]
        arguments += ["--enable-debug-command", "local"]
        self.process = Process([*arguments, *self.arguments], self.folder / f"redis-{self.port}.log")
        assert wait_until(self.accepts, 10) is not None, "Redis does not start"
        return self

    def accepts(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def stop(self):
        self.process.stop(signal.SIGKILL)

    def command(self, *words, timeout=10):
        """Sends one command and returns its response, or raises a RuntimeError."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as stream:
            parts = [str(word).encode() for word in words]
            stream.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
            return response(stream.makefile("rb"))

    def add(self, **fields):
        """Appends an entry, as another program than the library does."""
        flat = [each for pair in fields.items() for each in pair]
        return self.command("XADD", KEY, "*", *flat)


def response(file):
    line = file.readline().rstrip(b"\r\n")
    kind, rest = line[:1], line[1:]
    if kind == b"-":
        raise RuntimeError(rest.decode())
    if kind == b"$":
        return None if rest == b"-1" else file.read(int(rest) + 2)[:-2].decode()
    if kind == b"*":
        return None if rest == b"-1" else [response(file) for _ in range(int(rest))]
    return int(rest) if kind == b":" else rest.decode()


class Forwarder:
    """Forwards connections to a port that can change, as the name of a Redis after a failover."""

    def __init__(self, target):
        self.target, self.open = target, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 2)
            except OSError:
                client.close()
                continue
            self.open += [client, server]
            for one, other in [(client, server), (server, client)]:
                threading.Thread(target=self.copy, args=(one, other), daemon=True).start()

    @staticmethod
    def copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def switch(self, target):
        self.target = target
        for each in self.open:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.open = []


class Replica:
    """An example server."""

    binary = None

    def __init__(self, folder, name, log, more=""):
        path = folder / f"{name}.toml"
        path.write_text(
            f'listen = "127.0.0.1:0"\ntest_routes = true\n[api]\naudience = "{AUDIENCE}"\n[[api.issuer]]\n'
            f'domains = ["{ISSUER}"]\nalgorithms = ["HS256"]\nsecrets = [{{ text = "{SECRET}" }}]\n'
            f'[[api.issuer]]\ndomains = ["{OTHER}"]\nalgorithms = ["HS256"]\nsecrets = [{{ text = "{SECRET}" }}]\n'
            f'[revocation]\nlog = "{log}"\nkey = "{KEY}"\nmax_stale = "10s"\n{more}\n'
        )
        self.log = folder / f"{name}.log"
        self.log.write_text("")
        self.process = Process([self.binary, path], self.log, {"RUST_LOG": "tower_bearer=info", "NO_COLOR": "1"})
        self.origin = listening(self.process)

    def status(self, token):
        return send("GET", self.origin + "/me", {"authorization": f"Bearer {token}"}).status

    def is_ready(self):
        return send("GET", self.origin + "/readyz").status == 200

    def revoke(self, **body):
        headers = {"content-type": "application/json"}
        return send("POST", self.origin + "/__revoke", headers, json.dumps({"issuer": ISSUER, **body}).encode()).status

    def wait(self, expected, token, seconds=15):
        took = wait_until(lambda: self.status(token) == expected, seconds, 0.002)
        assert took is not None, f"{self.log.name}: no {expected} within {seconds} s: {self.log.read_text()[-2000:]}"
        return took

    def wait_ready(self, seconds=15):
        assert wait_until(self.is_ready, seconds) is not None, f"not ready: {self.log.read_text()[-2000:]}"
        return self

    def stop(self):
        self.process.stop()


class Suite:
    def __init__(self, folder):
        self.folder = folder
        self.number = 0

    def jti(self):
        self.number += 1
        return f"j{self.number}"

    def revoked_everywhere(self, replicas, seconds=15):
        """Revokes a new token at the first replica, and returns the seconds until the last one rejects it."""
        name = self.jti()
        text = token(jti=name)
        for replica in replicas:
            replica.wait(200, text)
        assert replicas[0].revoke(kind="jti", value=name, until=time.time() + 3600) == 204
        assert replicas[0].status(text) == 401, "at once"
        return text, max(replica.wait(401, text, seconds) for replica in replicas[1:])

    def run(self, soak):
        redis = Redis(self.folder).start()
        url = f"redis://127.0.0.1:{redis.port}"
        a, b = (Replica(self.folder, name, url).wait_ready() for name in "ab")
        self.latency(a, b)
        old, _ = self.revoked_everywhere([a, b])
        self.second_writer(redis, a, b)
        for name, fault in [
            ("all connections are closed", lambda: redis.command("CLIENT", "KILL", "TYPE", "normal")),
            ("all commands wait for two seconds", lambda: redis.command("CLIENT", "PAUSE", 2000, "ALL")),
            ("Redis sleeps for two seconds", lambda: redis.command("DEBUG", "SLEEP", 2)),
        ]:
            fault()
            time.sleep(2.5)
            self.revoked_everywhere([a, b])
            self.passed(name)
        self.stopped(redis, a, b, old)
        redis.command("FLUSHALL")
        time.sleep(6)
        self.revoked_everywhere([a, b])
        assert (a.status(old), b.status(old)) == (401, 401), "what was revoked before FLUSHALL"
        late = Replica(self.folder, "flushed", url).wait_ready()
        late.wait(401, old)
        late.stop()
        self.passed("FLUSHALL")
        redis.stop()
        time.sleep(1)
        redis.start()
        # For at most a second, commands are not sent.
        time.sleep(2)
        self.revoked_everywhere([a, b])
        assert (a.status(old), b.status(old)) == (401, 401), "what was revoked before the restart"
        self.passed("a restart with an empty memory")
        self.outage(redis, a, b, old, url)
        self.memory(redis, a, b, url)
        a.stop()
        b.stop()
        redis.stop()
        self.failover()
        self.failover_without_a_sign()
        self.demotion()
        self.tls()
        self.acl()
        self.soak(soak)

    def passed(self, name, more=""):
        print(f"passed: {name}{more}", flush=True)

    def latency(self, a, b):
        times = sorted(self.revoked_everywhere([a, b])[1] for _ in range(100))
        assert times[98] <= 0.05, f"p99 {times[98]:.3f} s"
        self.passed("revoked on one, rejected by the other", f", p50 {times[49] * 1000:.1f} ms, p99 {times[98] * 1000:.1f} ms")

    def second_writer(self, redis, a, b):
        now = int(time.time())
        entries = [
            (dict(kind="jti", value="w1"), dict(jti="w1")),
            (dict(kind="sid", value="w2"), dict(sid="w2")),
            (dict(kind="sub", value="w3", before=now), dict(sub="w3")),
            (dict(kind="client", value="w4", before=now), dict(client_id="w4")),
            (dict(kind="sub", value="w5", before=now, claim="uid"), dict(uid="w5")),
            (dict(kind="issuer", issuer=OTHER, before=now), dict(iss=OTHER)),
        ]
        for fields, claims in entries:
            text = token(**claims)
            assert (a.status(text), b.status(text)) == (200, 200), claims
            redis.add(**{"issuer": ISSUER, "until": now + 3600, **fields})
            a.wait(401, text)
            b.wait(401, text)
        later = token(sub="w3", iat=now + 1)
        assert a.status(later) == 200, "issued after the entry"
        redis.command("XADD", KEY, "*", "kind", "nonsense")
        redis.command("XADD", KEY, "*", "issuer", ISSUER, "kind", "jti", "value", "x", "until", "tomorrow")
        self.revoked_everywhere([a, b])
        assert wait_until(lambda: "malformed" in a.log.read_text()) is not None
        stream = redis.command("XRANGE", KEY, "-", "+")
        fields = dict(zip(stream[0][1][::2], stream[0][1][1::2]))
        assert fields.keys() == {"issuer", "kind", "value", "until"} and fields["kind"] == "jti", fields
        self.passed("entries of another program, and what the library writes")

    def stopped(self, redis, a, b, old):
        redis.process.child.send_signal(signal.SIGSTOP)
        try:
            assert a.revoke(kind="jti", value="stopped", until=time.time() + 3600) == 503
            assert a.status(token(jti="stopped")) == 401, "in this process at once"
            time.sleep(9)
            assert b.status(old) in (401, 503)
        finally:
            redis.process.child.send_signal(signal.SIGCONT)
        b.wait(401, token(jti="stopped"))
        a.wait(200, token(jti="good"))
        b.wait(200, token(jti="good"))
        self.passed("a Redis that is stopped for nine seconds, and continues")

    def outage(self, redis, a, b, old, url):
        redis.stop()
        assert a.revoke(kind="jti", value="later", until=time.time() + 3600) == 503
        good = token()
        assert (a.status(good), a.status(old)) == (200, 401), "by what is known"
        a.wait(503, good, 15)
        assert not a.is_ready() and send("GET", a.origin + "/livez").status == 200
        assert a.status(token(exp=1)) == 401, "an invalid token is still 401"
        late = Replica(self.folder, "late", url)
        assert not late.is_ready() and late.status(good) == 503, "empty is not the same as nothing revoked"
        redis.start()
        for replica in (a, b, late):
            replica.wait(200, good)
            replica.wait(401, token(jti="later"))
            replica.wait_ready()
        late.stop()
        self.passed("an outage: 503 after max_stale and at start, and everything continues after it")

    def memory(self, redis, a, b, url):
        redis.command("CONFIG", "SET", "maxmemory", "1mb")
        full = self.jti()
        assert a.revoke(kind="jti", value=full, until=time.time() + 3600) == 503
        assert a.status(token(jti=full)) == 401 and b.status(token(jti="good")) == 200
        redis.command("CONFIG", "SET", "maxmemory", "0")
        b.wait(401, token(jti=full), 40)
        self.passed("full memory: appends fail loudly, and are repeated")
        for policy in [f"{keys}-{order}" for keys in ("allkeys", "volatile") for order in ("lru", "lfu", "random")] + ["volatile-ttl"]:
            redis.command("CONFIG", "SET", "maxmemory-policy", policy)
            evicting = Replica(self.folder, policy, url)
            time.sleep(1)
            assert not evicting.is_ready() and evicting.status(token()) == 503, policy
            assert "not noeviction" in evicting.log.read_text(), policy
            redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
            evicting.wait_ready().stop()
        self.passed("a Redis that drops keys is not used until it does not")

    def failover(self):
        primary, standby, name, a, b = self.replicated("failover")
        old, _ = self.revoked_everywhere([a, b])
        # The Redis replica no longer follows, so it lacks the next entry.
        standby.command("REPLICAOF", "NO", "ONE")
        lost, _ = self.revoked_everywhere([a, b])
        primary.stop()
        name.switch(standby.port)
        self.revoked_everywhere([a, b])
        for text in (old, lost):
            assert (a.status(text), b.status(text)) == (401, 401), "what was revoked before the failover"
        # What the Redis replica lacks is appended again by the process that has revoked it.
        late = Replica(self.folder, "failover-late", f"redis://127.0.0.1:{name.port}").wait_ready()
        assert late.status(old) == 401, "a new process knows what the Redis replica has"
        late.wait(401, lost)
        for each in (a, b, late):
            each.stop()
        standby.stop()
        self.passed("promotion of a Redis replica that lacks an entry")

    def failover_without_a_sign(self):
        """The Redis replica lacks an entry that no process has read, so it has the position of all of them."""
        primary, standby, name, a, b = self.replicated("silent")
        self.revoked_everywhere([a, b])
        standby.command("REPLICAOF", "NO", "ONE")
        # The readers lose their connections and get no others. The connection for appends stays.
        name.target = free_port()
        for client in primary.command("CLIENT", "LIST").splitlines():
            fields = dict(field.split("=", 1) for field in client.split() if "=" in field)
            if fields["cmd"] == "xread":
                primary.command("CLIENT", "KILL", "ID", fields["id"])
        entries = primary.command("XLEN", KEY)
        lost = token(jti="silent")
        assert a.revoke(kind="jti", value="silent", until=time.time() + 3600) in (204, 503)
        assert wait_until(lambda: primary.command("XLEN", KEY) == entries + 1, 15) is not None, "the primary stores it"
        assert (a.status(lost), b.status(lost)) == (401, 200)
        primary.stop()
        name.switch(standby.port)
        b.wait(401, lost)
        late = Replica(self.folder, "silent-late", f"redis://127.0.0.1:{name.port}").wait_ready()
        late.wait(401, lost)
        assert "has lost entries" not in a.log.read_text() + b.log.read_text()
        for each in (a, b, late):
            each.stop()
        standby.stop()
        self.passed("promotion of a Redis replica that lacks an entry that nobody has read")

    def replicated(self, name):
        """Starts a primary with one Redis replica, and two processes that reach them by a name."""
        primary, standby = Redis(self.folder).start(), Redis(self.folder).start()
        standby.command("REPLICAOF", "127.0.0.1", primary.port)
        assert wait_until(lambda: "master_link_status:up" in standby.command("INFO", "replication")) is not None
        forwarder = Forwarder(primary.port)
        url = f"redis://127.0.0.1:{forwarder.port}"
        return primary, standby, forwarder, *(Replica(self.folder, f"{name}-{each}", url).wait_ready() for each in "ab")

    def demotion(self):
        """The server becomes a Redis replica and its connections stay open, as without Redis Sentinel."""
        former, primary = Redis(self.folder).start(), Redis(self.folder).start()
        name = Forwarder(former.port)
        # The second process never appends.
        a, b = (Replica(self.folder, f"demotion-{each}", f"redis://127.0.0.1:{name.port}").wait_ready() for each in "ab")
        old, _ = self.revoked_everywhere([a, b])
        # Its primary cannot be reached: no new entry arrives.
        former.command("REPLICAOF", "127.0.0.1", free_port())
        good = token()
        b.wait(503, good, 25)
        assert not b.is_ready() and b.status(old) in (401, 503)
        assert a.revoke(kind="jti", value="demoted", until=time.time() + 3600) == 503
        # From now on, new connections lead to another server. No connection is closed.
        name.target = primary.port
        for replica in (a, b):
            replica.wait(200, good)
            replica.wait(401, token(jti="demoted"))
            assert replica.status(old) == 401
        self.revoked_everywhere([a, b])
        # A server that was promoted, whose only Redis replica is gone: reads go on, for longer than `max_stale`.
        primary.command("CONFIG", "SET", "min-replicas-to-write", 1)
        assert a.revoke(kind="jti", value="alone", until=time.time() + 3600) == 503
        for _ in range(30):
            assert (a.status(good), b.status(good)) == (200, 200) and a.is_ready() and b.is_ready()
            assert (a.status(token(jti="alone")), b.status(token(jti="alone"))) == (401, 200), "the append fails"
            time.sleep(0.5)
        primary.command("CONFIG", "SET", "min-replicas-to-write", 0)
        # The append is repeated after the next read.
        b.wait(401, token(jti="alone"), 10)
        for each in (a, b):
            each.stop()
        former.stop()
        primary.stop()
        self.passed("a server that becomes a Redis replica is noticed by a process that never appends; one without Redis replicas is read")

    def tls(self):
        folder = certificates.make(self.folder / "tls")
        port = free_port()
        files = ["--tls-cert-file", folder / "localhost.pem", "--tls-key-file", folder / "localhost.key"]
        arguments = ["--port", 0, "--tls-port", port, *files, "--tls-ca-cert-file", folder / "ca.pem", "--tls-auth-clients", "no"]
        redis = Redis(self.folder, *arguments, port=port).start()
        roots = f'ca_file = "{folder / "ca.pem"}"'
        a, b = (Replica(self.folder, f"tls-{each}", f"rediss://localhost:{port}", roots).wait_ready() for each in "ab")
        self.revoked_everywhere([a, b])
        untrusting = Replica(self.folder, "tls-untrusting", f"rediss://localhost:{port}")
        plain = Replica(self.folder, "tls-plain", f"redis://localhost:{port}")
        time.sleep(1)
        assert not untrusting.is_ready() and not plain.is_ready()
        for each in (a, b, untrusting, plain):
            each.stop()
        redis.stop()
        self.passed("TLS with a private authority, and none with an unknown one")

    def acl(self):
        rule = re.search(r"^ACL SETUSER (orders .*)$", GUIDE.read_text(), re.M).group(1)
        redis = Redis(self.folder).start()
        redis.command("ACL", "SETUSER", *rule.split())
        redis.command("ACL", "SETUSER", "default", "off", "nopass", "-@all")
        # The user may also select a database, and record used proofs.
        url = f"redis://orders:the-password@127.0.0.1:{redis.port}/3"
        dpop = f'[api.dpop]\npublic_url = "{PUBLIC_URL}"\nlifetime = "300s"\nreplay = "{url}"\n'
        a, b = (Replica(self.folder, f"acl-{each}", url, dpop).wait_ready() for each in "ab")
        self.revoked_everywhere([a, b])
        self.replays(a, b)
        assert "maxmemory-policy" not in a.log.read_text(), "the policy is known"
        wrong = Replica(self.folder, "acl-wrong", f"redis://orders:wrong@127.0.0.1:{redis.port}")
        time.sleep(1)
        assert not wrong.is_ready() and "the-password" not in a.log.read_text() and ":wrong@" not in wrong.log.read_text()
        for each in (a, b, wrong):
            each.stop()
        redis.stop()
        self.passed("the user of the guide's ACL, also for a database and for replayed proofs, and a wrong password")

    def replays(self, a, b):
        """A proof that one process has accepted is rejected by both, and the next one is accepted."""
        key = ProofKey(self.folder)
        bound = token(sub="bound", cnf={"jkt": key.thumbprint})

        def call(replica, proof):
            response = send("GET", replica.origin + "/me", {"authorization": f"DPoP {bound}", "dpop": proof})
            return response.status, "invalid_dpop_proof" in (response.challenge or "")

        for first, second in [(a, b), (b, a)]:
            proof = key.proof(self.jti(), bound)
            assert call(first, proof) == (200, False), "a new proof"
            for replica in (second, first):
                assert call(replica, proof) == (401, True), "a replay"

    def soak(self, seconds):
        """1,000 requests and 50 revocations a second at two processes, and a restart of Redis, which loses its data, each minute.

        Asserted, for each token whose revocation was answered:

        - The process that has revoked it rejects it at once, also while Redis is down.
        - The other one rejects it, from some time on without an exception, also while Redis is down. This time is
          1 s after an answer 204, and no earlier than 1 s after Redis runs again and the readers had time to reconnect (2 s);
          5 s after that, if the answer was 503: the entry is appended again. So is one that was stored in the last half of a second
          before Redis was killed, because nobody may have read it.
        - The answer is 503 only while Redis is down, and for 5 s after the readers had time to reconnect.

        Good tokens are always accepted: a restart takes less time than `max_stale`. At the end, every revoked token is sent to both
        processes again, or an even sample of at least 5,000 of them.
        """
        if not seconds:
            return
        redis = Redis(self.folder).start()
        url = f"redis://127.0.0.1:{redis.port}"
        replicas = [Replica(self.folder, f"soak-{name}", url).wait_ready() for name in "ab"]
        failures, revoked, lock = [], [], threading.Lock()
        end = time.monotonic() + seconds
        counts = {"requests": 0, "revocations": 0, "repeated": 0}
        # When Redis was killed, and when it ran again and the readers had time to reconnect.
        outages = []

        def rejected_from(status, at):
            """Returns the time from which the other process rejects a token."""
            for stopped, usable in outages:
                is_repeated = status == 503 or abs(at - stopped) < 0.5
                if stopped - 0.5 < at < usable + (5 if status == 503 else 0):
                    return max(at, usable) + (5 if is_repeated else 1)
            return at + 1

        def request(number, rate):
            connection = Connection(replicas[number].origin)
            good, next_at, at = token(sub="good"), time.monotonic(), 0
            while time.monotonic() < end:
                next_at += 1 / rate
                time.sleep(max(0.0, next_at - time.monotonic()))
                at += 1
                with lock:
                    # Half of the requests have a revoked token.
                    known = revoked[-1 - at % min(len(revoked), 500)] if revoked and at % 2 else None
                text, answer, answered = known or (good, None, None)
                sent = time.monotonic()
                status = connection.send("GET", "/me", {"authorization": f"Bearer {text}"}).status
                counts["requests"] += 1
                if known is None and status != 200:
                    failures.append(f"a good token got {status}")
                elif known and status != 401 and (number == 0 or sent > rejected_from(answer, answered)):
                    past = f"{sent - answered:.1f} s after the answer {answer}"
                    failures.append(f"a revoked token got {status} at {'ab'[number]}, {past}")

        def revoke(rate):
            connection, next_at = Connection(replicas[0].origin), time.monotonic()
            while time.monotonic() < end:
                next_at += 1 / rate
                time.sleep(max(0.0, next_at - time.monotonic()))
                name = self.jti()
                body = json.dumps({"issuer": ISSUER, "kind": "jti", "value": name, "until": time.time() + 3600}).encode()
                status = connection.send("POST", "/__revoke", {"content-type": "application/json"}, body).status
                at = time.monotonic()
                counts["revocations"] += 1
                counts["repeated"] += status == 503
                is_down = any(stopped - 0.5 < at < usable + 5 for stopped, usable in outages)
                if status != 204 and not (status == 503 and is_down):
                    failures.append(f"a revocation got {status}, Redis is down: {is_down}")
                with lock:
                    revoked.append((token(jti=name), status, at))

        threads = [threading.Thread(target=request, args=(number % 2, 125)) for number in range(8)]
        threads.append(threading.Thread(target=revoke, args=(50,)))
        for thread in threads:
            thread.start()
        while time.monotonic() < end - 20:
            time.sleep(min(60, max(1, end - 20 - time.monotonic())))
            outages.append((time.monotonic(), float("inf")))
            redis.stop()
            time.sleep(1)
            redis.start()
            # The backoff of the readers after an outage of a second is at most a second and a half.
            outages[-1] = (outages[-1][0], time.monotonic() + 2)
        for thread in threads:
            thread.join()
        assert not failures, (len(failures), failures[:10])
        assert counts["repeated"], "no revocation met an outage"
        sample = revoked[:: max(1, len(revoked) // 5_000)]
        self.final_pass(replicas, [text for text, _, _ in sample])
        for replica in replicas:
            replica.stop()
        redis.stop()
        rates = [f"{counts[name] / seconds:.0f} of {rate} {name}/s" for name, rate in (("requests", 1_000), ("revocations", 50))]
        checked = f"at the end, {len(sample)} of {len(revoked)} revoked tokens sent to both"
        self.passed("soak", f": {', '.join(rates)}, {counts['repeated']} revocations repeated; {checked}")

    @staticmethod
    def final_pass(replicas, revoked):
        """Sends each revoked token to each process, and after every tenth a good one. Redis runs, and nothing is revoked meanwhile."""
        # Of the last outage, and of the last revocation.
        time.sleep(5)
        good = token(sub="good")
        for replica in replicas:
            connection, failures = Connection(replica.origin), []
            for number, text in enumerate(revoked):
                for credential, expected in [(text, 401), (good, 200)][: 2 if number % 10 == 0 else 1]:
                    status = connection.send("GET", "/me", {"authorization": f"Bearer {credential}"}).status
                    if status != expected:
                        failures.append(f"{status} and not {expected} at revocation {number} of {len(revoked)}")
            assert not failures, (replica.log.name, len(failures), failures[:10])


def main():
    Replica.binary = sys.argv[1]
    soak = float(sys.argv[2]) if len(sys.argv) > 2 else 0
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        Suite(folder).run(soak)
    finally:
        stop_all()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
