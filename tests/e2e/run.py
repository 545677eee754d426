"""Runs the examples of this crate against third-party authorization servers. See README.md beside this file."""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

import certificates
import clients
import dpop
import introspection
import mutual_tls
import node
import observability
import replay_store
import scenarios
import tenants
from api import Api
from processes import stop_all
from servers import Glewlwyd, OidcProvider

EXAMPLES = ["server", "private_ca", "observability", "hyper", "tonic", "browser"]
ROOT = pathlib.Path(__file__).parent.parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="also run glewlwyd, proxies, Redis, a browser and Prometheus")
    parser.add_argument("--only", default="", help="run the scenarios whose name contains this word")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tower-bearer-e2e-") as folder:
        folder = pathlib.Path(folder)
        Api.binaries = build(folder)
        modules = node.install("oidc-provider")
        suite = Suite(folder, options.only)
        try:
            suite.against(OidcProvider(folder, modules), scenarios.EVERYWHERE + scenarios.WITH_FAILURES + introspection.SCENARIOS + dpop.QUICK)
            suite.run(observability.scrape_of_the_metrics_endpoint, None)
            suite.run(clients.curl_over_both_versions, None)
            suite.run(clients.grpc_from_nodejs, None)
            suite.against(OidcProvider(folder, modules, "/"), scenarios.OTHER_ISSUERS)
            suite.against(OidcProvider(folder, modules, "/tenant/a"), scenarios.OTHER_ISSUERS)
            secured = OidcProvider(folder, modules, certificates=certificates.make(folder / "certificates"))
            suite.against(secured, scenarios.OVER_HTTPS + [mutual_tls.clients_with_certificates])
            if options.all:
                suite.against(OidcProvider(folder, modules), tenants.TENANTS + dpop.SLOW)
                suite.against(secured, [mutual_tls.certificates_behind_proxies, dpop.proofs_behind_proxies])
                suite.run(clients.cross_origin_page, None)
                suite.run(observability.prometheus_scrapes_and_loads_the_alerts, None)
                suite.against(Glewlwyd(folder), scenarios.EVERYWHERE + [dpop.clients_with_proofs, introspection.every_jwt_is_introspected])
                suite.against(OidcProvider(folder, modules), replay_store.SCENARIOS)
        finally:
            stop_all()
    print(f"end to end: {suite.passed} scenarios passed, {len(suite.failed)} failed")
    # A word that matches no scenario is an error.
    sys.exit(0 if suite.passed and not suite.failed else 1)


class Suite:
    def __init__(self, folder, only):
        self.folder, self.only = folder, only
        self.passed, self.failed = 0, []

    def against(self, server, all_scenarios):
        if not any(self.only in scenario.__name__ for scenario in all_scenarios):
            return
        server.start()
        for scenario in all_scenarios:
            self.run(scenario, server)
        server.stop()

    def run(self, scenario, server):
        name = f"{server.name if server else 'example'}: {scenario.__name__.replace('_', ' ')}"
        if self.only not in scenario.__name__:
            return
        start, started_at = time.monotonic(), time.time()
        try:
            scenario(self.folder, server)
        except Exception as error:
            self.failed.append(name)
            print(f"FAILED  {name}", flush=True)
            print("        " + "".join(traceback.format_exception_only(error)).strip(), flush=True)
            self.print_logs(started_at)
            return
        self.passed += 1
        print(f"ok      {name} ({time.monotonic() - start:.1f} s)", flush=True)

    def print_logs(self, since):
        """Prints the last lines of the logs that were written since a time."""
        for log in sorted(self.folder.rglob("*.log")):
            if log.stat().st_mtime >= since:
                print(f"        {log.name}:", flush=True)
                for line in log.read_text(errors="replace").splitlines()[-5:]:
                    print(f"          {line[:300]}", flush=True)


def build(folder):
    """Builds the examples and copies them, so that a concurrent build does not replace them."""
    examples = [word for name in EXAMPLES for word in ("--example", name)]
    command = ["cargo", "build", "--quiet", "--message-format=json", *examples]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    binaries = {}
    for message in map(json.loads, output.splitlines()):
        if message.get("executable"):
            name = message["target"]["name"]
            binaries[name] = shutil.copy(message["executable"], folder / name)
    return binaries


if __name__ == "__main__":
    main()
