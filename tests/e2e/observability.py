"""Checks the metrics endpoint of the example `observability`, and the alerts of the guide in Prometheus."""

import json
import pathlib
import re
import subprocess
import urllib.parse

from api import Api, listening
from processes import Process, send, free_port, wait_until

GUIDE = pathlib.Path(__file__).parent.parent.parent / "src/guide/observability.md"

SAMPLE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z]+="[^"\\]*",?)*)\})? (-?[0-9.e+-]+|NaN|\+Inf)$')
ISSUER = "https://northwind.eu.auth0.com/"
EXPECTED = {
    ("jwt_validation_total", "accepted", "none"): 3,
    ("jwt_validation_total", "rejected", "expired"): 1,
    ("jwt_validation_total", "rejected", "audience"): 1,
    ("jwt_validation_total", "rejected", "no_credential"): 1,
}


def scrape_of_the_metrics_endpoint(folder, _server):
    """Every line is in the text format of Prometheus, and the counters match the requests."""
    process = Process([Api.binaries["observability"], "--serve"], folder / "observability.log")
    origin = listening(process)
    # The example scrapes itself after it has sent its requests.
    wait_until(lambda: "# TYPE" in process.log.read_text())
    response = send("GET", f"{origin}/metrics")
    assert response.status == 200, response
    found = {}
    for line in response.body.decode().splitlines():
        if not line or line.startswith("# TYPE "):
            continue
        sample = SAMPLE.match(line)
        assert sample, f"not a sample: {line}"
        labels = dict(re.findall(r'([a-z]+)="([^"]*)"', sample[2] or ""))
        found[sample[1], labels.get("result"), labels.get("reason")] = float(sample[3])
    for name, count in EXPECTED.items():
        assert found.get(name) == count, f"{name}: {found.get(name)}, not {count}"
    assert found["jwt_requirement_unmet_total", None, "insufficient_scope"] == 1, found
    process.stop()


def prometheus_scrapes_and_loads_the_alerts(folder, _server):
    """Prometheus accepts the scrape, and evaluates every alert of the guide."""
    home = folder / "prometheus"
    home.mkdir()
    alerts = re.search(r"```yaml\n(groups:.*?)```", GUIDE.read_text(), re.S)[1]
    (home / "alerts.yml").write_text(alerts)
    subprocess.run(["promtool", "check", "rules", home / "alerts.yml"], check=True, stdout=subprocess.DEVNULL)
    api = Process([Api.binaries["observability"], "--serve"], folder / "scraped.log")
    origin = listening(api)
    wait_until(lambda: "# TYPE" in api.log.read_text())
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yml"],
        "scrape_configs": [{"job_name": "api", "static_configs": [{"targets": [origin.removeprefix("http://")]}]}],
    }
    # JSON is YAML.
    (home / "prometheus.yml").write_text(json.dumps(configuration))
    address = f"127.0.0.1:{free_port()}"
    options = {"config.file": home / "prometheus.yml", "storage.tsdb.path": home / "data", "web.listen-address": address}
    process = Process(["prometheus", *(f"--{name}={value}" for name, value in options.items())], home / "output.log")

    def query(path, **parameters):
        response = send("GET", f"http://{address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        return response.json()["data"] if response.status == 200 else None

    def accepted():
        data = query("query", query='jwt_validation_total{job="api",result="accepted"}')
        return data and data["result"]

    assert wait_until(accepted, 30) is not None, (home / "output.log").read_text()[-800:]
    assert [float(series["value"][1]) for series in accepted()] == [3.0], accepted()
    # The keys of the only issuer are fetched and fresh.
    states = query("query", query="jwks_state")["result"]
    assert [(series["metric"]["issuer"], series["value"][1]) for series in states] == [(ISSUER, "1")], states

    def rules():
        return [rule for group in query("rules")["groups"] for rule in group["rules"]]

    def are_healthy():
        return len(rules()) == alerts.count("- alert:") and all(rule["health"] == "ok" for rule in rules())

    assert wait_until(are_healthy, 30) is not None, rules()
    # The keys are fresh, so no alert that pages is active.
    assert all(rule["state"] == "inactive" for rule in rules() if rule["labels"]["severity"] == "page"), rules()
    process.stop()
    api.stop()
