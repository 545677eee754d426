"""Tenants that come and go at run time, as path issuers of one server, each with its own keys."""

import json
import threading
import time

from api import Api
from processes import wait_until
from scenarios import assert_equal, assert_rejected
from servers import AUDIENCE

COUNT = 50


def tenants_that_come_and_go(folder, server):
    """Fifty tenants are used. One more is listed later, one is delisted, and one is removed and created again, while the API runs."""
    names = [f"t{number}" for number in range(COUNT)]
    for name in names:
        server.tenant(name, "create")
    listing = folder / "allowed_tenants.toml"

    def allow(allowed):
        listing.write_text(f"allow = {json.dumps(allowed)}\n")

    allow(names)
    settings = "\n".join(
        [
            "[tenants]",
            f'pattern = "{server.origin}/t/{{tenant}}"',
            f"file = {json.dumps(str(listing))}",
            "new_per_second = 1000",
            "allow_private_addresses = true",
        ]
    )
    logs = {"RUST_LOG": "server=info,tower_bearer=debug"}
    api = Api(folder, "tenants", server.issuer, AUDIENCE, ["RS256"], jwks=settings)
    with api.start(environment=logs):
        tokens = {name: server.tenant_token(name) for name in names}
        for name, token in tokens.items():
            response = api.get("/me", token)
            assert_equal(response.status, 200, name)
            assert_equal(response.json()["iss"], f"{server.origin}/t/{name}", "iss")
        assert_equal(api.get("/me", server.token()).status, 200, "a token of the configured issuer")

        # A tenant that the list does not have.
        server.tenant("unlisted", "create")
        assert_rejected(api.get("/me", server.tenant_token("unlisted")), "a tenant that is not listed")
        counts = server.request_counts()
        assert not any(path.startswith("/t/unlisted/.well-known") for path in counts), "nothing is fetched for it"

        # A listed tenant that is created later, and one that is removed, within two seconds of the change.
        server.tenant("late", "create")
        late = server.tenant_token("late")
        assert_rejected(api.get("/me", late), "not listed yet")
        allow([*names[1:], "late"])
        assert wait_until(lambda: api.get("/me", late).status == 200, 4) is not None, "the new tenant"
        assert wait_until(lambda: api.get("/me", tokens["t0"]).status == 401, 4) is not None, "the removed tenant"

        # A broken file and a missing one change nothing.
        listing.write_text("allow = [")
        time.sleep(2.5)
        assert_equal(api.get("/me", late).status, 200, "with a broken file")
        assert "the tenants stay as they are" in api.log.read_text(), "the error is logged"
        listing.unlink()
        time.sleep(2.5)
        assert_equal(api.get("/me", late).status, 200, "without a file")

        # A tenant that is created again under its name has other keys: its predecessor's tokens are rejected.
        server.tenant("late", "remove")
        server.tenant("late", "create")
        allow(names[1:])
        assert wait_until(lambda: api.get("/me", late).status == 401, 4) is not None, "off-boarded"
        allow([*names[1:], "late"])
        successor = server.tenant_token("late")
        assert wait_until(lambda: api.get("/me", successor).status == 200, 4) is not None, "its successor"
        assert_rejected(api.get("/me", late), "a token of its predecessor")
        assert_equal(api.stop(), 0, "exit status")


def tenants_that_fail(folder, server):
    """A tenant that hangs delays no other one, and keys at a foreign host are not fetched."""
    names = [f"f{number}" for number in range(COUNT)]
    for name in names:
        server.tenant(name, "create")
    settings = "\n".join(
        [
            "[tenants]",
            f'pattern = "{server.origin}/t/{{tenant}}"',
            f"allow = {json.dumps(names)}",
            "new_per_second = 1000",
            "allow_private_addresses = true",
        ]
    )
    with Api(folder, "failing-tenants", server.issuer, AUDIENCE, ["RS256"], jwks=settings) as api:
        tokens = {name: server.tenant_token(name) for name in names}
        server.tenant("f0", "hang")
        hanging = []
        thread = threading.Thread(target=lambda: hanging.append(api.get("/me", tokens["f0"]).status))
        thread.start()
        for name in names[1:]:
            assert_equal(api.get("/me", tokens[name]).status, 200, name)
        assert not hanging, "the other tenants were served while one hangs"
        thread.join()
        assert_equal(hanging, [503], "the tenant that hangs")
        server.tenant("f0", "create")

        server.tenant("f1", "foreign")
        with Api(folder, "foreign", server.issuer, AUDIENCE, ["RS256"], jwks=settings) as second:
            response = second.get("/me", tokens["f1"])
            assert_equal((response.status, response.challenge), (503, None), "a jwks_uri at another port")
            assert_equal(second.get("/me", tokens["f2"]).status, 200, "another tenant")

    # Without the setting, nothing is fetched from loopback.
    public = settings.replace("allow_private_addresses = true", "allow_private_addresses = false")
    with Api(folder, "public-only", server.issuer, AUDIENCE, ["RS256"], jwks=public) as api:
        server.request_counts()
        assert_equal(api.get("/me", tokens["f3"]).status, 503, "a private address")
        assert not any(path.startswith("/t/f3/") for path in server.request_counts()), "no request was sent"


TENANTS = [tenants_that_come_and_go, tenants_that_fail]
