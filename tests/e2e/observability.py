"""What Prometheus would scrape from the example `observability`."""

import re

from api import Api, listening
from processes import Process, ask, wait_until

SAMPLE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z]+="[^"\\]*",?)*)\})? (-?[0-9.e+-]+|NaN|\+Inf)$')
EXPECTED = {
    ("jwt_validation_total", "accepted", "none"): 3,
    ("jwt_validation_total", "rejected", "expired"): 1,
    ("jwt_validation_total", "rejected", "audience"): 1,
    ("jwt_validation_total", "rejected", "no_credential"): 1,
}


def a_scrape(folder, _server):
    """Every line is in Prometheus' text format, and the counters tell what was sent."""
    process = Process([Api.binaries["observability"], "--serve"], folder / "observability.log")
    origin = listening(process)
    # The example has sent its requests when it has scraped itself.
    wait_until(lambda: "# TYPE" in process.log.read_text())
    answer = ask("GET", f"{origin}/metrics")
    assert answer.status == 200, answer
    found = {}
    for line in answer.body.decode().splitlines():
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
