"""Alerts, the dashboard and the metrics that they ask for."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from whereabouts.http_server import HttpServer
from whereabouts.store import Store

from .deployment import DEPLOY, of_kind, written, yaml
from .documents import ROOT, blocks
from .promql import Query, Selector, parse
from .served_metrics import agents_registry, controllers_registry, exposed, families, series

MONITORING = DEPLOY / "monitoring"
ALERTS = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
TESTS = yaml.safe_load((MONITORING / "alerts.test.yaml").read_text())
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
PAGE = ROOT / "docs/monitoring.md"

RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
ALERTING = [rule for rule in RULES if "alert" in rule]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SERIES = series()
OF_OTHERS = {
    "up": set[str](),
    "ALERTS": {"alertname", "alertstate"},
    "kube_daemonset_status_number_unavailable": {"namespace", "daemonset"},
    "range:whereabouts_range_used:ratio": {"instance", "datastore", "network", "range"},
}
"""Labels of series that Prometheus makes itself or has from elsewhere."""
OF_TARGETS = {"job", "instance"}


def _with_values(query: str) -> str:
    """A query of the dashboard, as Grafana would send it."""
    return query.replace("$__rate_interval", "5m").replace("$datastore", ".*").replace("$network", ".*")


def queries() -> Iterator[tuple[str, str]]:
    """Every query that people are given: where it stands, and what it is."""
    for rule in RULES:
        yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield f"panel {panel['title']}", _with_values(target["expr"])
    for block in blocks(PAGE):
        if block.language == "promql":
            yield block.where, block.text


QUERIES = list(queries())
NAMES = [f"{number} {where}" for number, (where, _) in enumerate(QUERIES)]


@pytest.mark.parametrize("query", [query for _, query in QUERIES], ids=NAMES)
def test_a_query_asks_for_metrics_and_labels_that_there_are(query: str) -> None:
    parsed = parse(query)
    assert parsed.selectors
    known = SERIES | OF_OTHERS
    for selector in parsed.selectors:
        assert selector.name in known
        assert selector.matchers.keys() <= known[selector.name] | OF_TARGETS
    assert parsed.grouping <= OF_TARGETS.union(*(known[selector.name] for selector in parsed.selectors))


@pytest.mark.parametrize("query", [query for _, query in QUERIES], ids=NAMES)
def test_a_query_compares_labels_with_values_that_they_have(query: str) -> None:
    known = {
        "command": {"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "other"},
        "outcome": {"ok", "conflict", "unsettled", "unavailable", "error", "posted", "dropped", "failed"},
        "verb": {name for name in vars(Store) if not name.startswith("_")},
    }
    for selector in parse(query).selectors:
        for label in selector.matchers.keys() & known.keys():
            assert selector.matchers[label] in known[label]


def test_variables_of_the_dashboard_are_labels_that_there_are() -> None:
    asked = [one for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    assert [one["name"] for one in asked] == ["datastore", "network"]
    for one in asked:
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", one["query"]["query"])
        assert found is not None
        (selector,) = parse(_with_values(found[1])).selectors
        assert {found[2], *selector.matchers} <= SERIES[selector.name]


def test_every_metric_is_in_the_pages_that_list_them() -> None:
    text = PAGE.read_text() + (ROOT / "docs/agent.md").read_text()
    counters = {family.name: f"{family.name}_total" for family in families() if family.type == "counter"}
    names = [counters.get(family.name, family.name) for family in families()]
    shortened = {
        f"whereabouts_range_{state}_addresses": f"`..._{state}_addresses`" for state in ("used", "free")
    }
    assert [
        name for name in names if f"`{name}`" not in text and shortened.get(name, "\n\n") not in text
    ] == []


# ------------------------------------------------------------------ alerts


@pytest.mark.parametrize("alert", ALERTING, ids=lambda rule: f"{rule['alert']} {rule['labels']['severity']}")
def test_an_alert_says_what_it_means_how_bad_it_is_and_where_to_read_on(alert: dict[str, Any]) -> None:
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    assert alert["annotations"].keys() == {"summary", "description", "runbook"}
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    titles = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("alert", ALERTING, ids=lambda rule: f"{rule['alert']} {rule['labels']['severity']}")
def test_an_alert_is_in_the_page(alert: dict[str, Any]) -> None:
    assert f"`{alert['alert']}`" in PAGE.read_text()


def test_every_alert_fires_in_some_test() -> None:
    fired = {
        (found["alertname"], found["severity"])
        for test in TESTS["tests"]
        for asked in test["promql_expr_test"]
        for sample in asked["exp_samples"]
        for found in [dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"]))]
    }
    assert fired == {(alert["alert"], alert["labels"]["severity"]) for alert in ALERTING}


def test_the_prometheus_rule_has_the_same_rules() -> None:
    content = yaml.safe_load((DEPLOY / "components/alerts/prometheusrule.yaml").read_text())
    assert content["spec"] == ALERTS


def test_jobs_are_called_what_alerts_ask_for() -> None:
    monitors = [*yaml.safe_load_all((DEPLOY / "components/podmonitor/podmonitors.yaml").read_text())]
    workloads = [*of_kind(written(), "DaemonSet"), *of_kind(written(), "Deployment")]
    jobs = set()
    for monitor in monitors:
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        templates = [workload["spec"]["template"]["metadata"]["labels"] for workload in workloads]
        (labels,) = [labels for labels in templates if wanted <= labels.items()]
        jobs.add(labels[monitor["spec"]["jobLabel"]])
    asked = {selector.matchers.get("job") for rule in RULES for selector in parse(rule["expr"]).selectors}
    assert asked - {None} <= jobs


# ------------------------------------------------------------------ the dashboard


def test_every_panel_says_what_it_shows_and_is_in_the_page() -> None:
    text = PAGE.read_text()
    assert [panel["title"] for panel in PANELS if not panel["description"]] == []
    assert [panel["title"] for panel in PANELS if f"| {panel['title']} |" not in text] == []


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        here = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not here & cells
        cells |= here
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


# ------------------------------------------------------------------ promtool


def _promtool(*arguments: str | Path, text: str = "") -> None:
    run = subprocess.run(
        ["promtool", *arguments], input=text, capture_output=True, text=True, check=False, timeout=120
    )
    assert (run.returncode, run.stderr) == (0, ""), run.stdout + run.stderr


@pytest.mark.promtool
@pytest.mark.parametrize("registry", [agents_registry(), controllers_registry()], ids=["agent", "controller"])
def test_metrics_have_names_units_and_help_as_prometheus_wants_them(registry: Any) -> None:
    _promtool("check", "metrics", text=exposed(registry))


@pytest.mark.promtool
def test_alerts_fire_when_they_should_and_only_then() -> None:
    _promtool("check", "rules", "--lint-fatal", MONITORING / "alerts.yaml")
    _promtool("test", "rules", MONITORING / "alerts.test.yaml")


@pytest.mark.promtool
def test_every_query_is_one(tmp_path: Path) -> None:
    rules = [{"record": f"query:number{number}", "expr": query} for number, (_, query) in enumerate(QUERIES)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    _promtool("check", "rules", file)


@pytest.mark.promtool
def test_prometheus_takes_the_configuration_of_the_page(tmp_path: Path) -> None:
    (block,) = (block for block in blocks(PAGE) if block.language == "yaml")
    (job,) = yaml.safe_load(block.text)["scrape_configs"]
    here = {name: content for name, content in job.items() if name != "kubernetes_sd_configs"}
    assert here.keys() < job.keys()  # Debian's promtool knows no Kubernetes
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [here]}))
    _promtool("check", "config", tmp_path / "prometheus.yml")
    services = yaml.safe_load_all((DEPLOY / "components/metrics/services.yaml").read_text())
    pattern = job["relabel_configs"][0]["regex"]
    assert all(re.fullmatch(pattern, service["metadata"]["labels"]["app"]) for service in services)


# ------------------------------------------------------------------ what is served, what is parsed


def test_no_series_tells_when_a_counter_was_made() -> None:
    server = HttpServer(agents_registry(), "127.0.0.1", 0)
    server.close()
    assert "_created" not in exposed(agents_registry())


def test_the_series_and_labels_of_a_query_are_found() -> None:
    query = (
        'sum by (a, b) (rate(m_total{c="x\\"y{",d=~".+"}[5m] offset 1h)) / on (e) group_left(f) '
        'max(n) > 0.5e3 or label_replace(o, "g", "$1", "h", "(.*)")'
    )
    assert parse(query) == Query(
        [Selector("m_total", {"c": 'x\\"y{', "d": ".+"}), Selector("n", {}), Selector("o", {})],
        {"a", "b", "e", "f"},
    )
