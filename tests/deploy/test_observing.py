"""The rules, the dashboard and docs/observing.md speak of metrics and labels that a real service has."""

import json
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.api.metrics import SERVICE_METRICS
from app.observability.metrics import COUNTED, WORKER_METRICS
from tests.support import services
from tests.support.environment import ROOT
from tests.support.service import Server

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"
OBSERVING = (ROOT / "docs" / "observing.md").read_text()

OF_PROMETHEUS = {"job", "instance"}
"""Labels that it gives to whatever it scrapes."""


@pytest.fixture(scope="module")
def served(two_workers: Server, seven, encode) -> dict[str, dict[str, set[str]]]:
    """Maps the name of each sample to its labels and their values."""
    assert two_workers.client.post("/predict", content=encode(seven)).status_code == 200
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for family in text_string_to_metric_families(httpx.get(f"{two_workers.url}/metrics", timeout=30).text):
        for sample in family.samples:
            for label, value in sample.labels.items():
                found[sample.name][label].add(value)
            found[sample.name]  # also where it has no label
    return found


def expressions_of_rules() -> list[str]:
    text = RULES.read_text()
    blocks = re.findall(r"^( +)expr: \|\n((?:\1 +.*\n)+)", text, re.MULTILINE)
    return [block for _, block in blocks] + re.findall(r"expr: ([^|\n].*)", text)


def expressions_of_dashboard() -> list[str]:
    found: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            found.extend(node[name] for name in ("expr", "query") if isinstance(node.get(name), str))
            node = list(node.values())
        if isinstance(node, list):
            for below in node:
                walk(below)

    walk(json.loads(DASHBOARD.read_text()))
    return [expression for expression in found if "inkling" in expression]


def selectors(expression: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Each metric in it, with its matchers: label, operator, value."""
    for name, matchers in re.findall(r"(?<![\w:])(inkling_\w+)(?:\{([^}]*)\})?", expression):
        yield name, re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers)


def grouped(expression: str) -> set[str]:
    return {label.strip() for labels in re.findall(r"by \(([^)]*)\)", expression) for label in labels.split(",")}


def check(expression: str, served: Mapping[str, Mapping[str, set[str]]]) -> None:
    labels = set(OF_PROMETHEUS)
    for name, matchers in selectors(expression):
        assert name in served, expression
        labels |= set(served[name])
        for label, operator, value in matchers:
            assert label in served[name] or label in OF_PROMETHEUS, expression
            # A status or a route may not have come up yet; the other labels have all their values from the start.
            if operator == "=" and label not in {"status", "route", *OF_PROMETHEUS}:
                assert value in served[name][label], expression
            if operator == "=~" and label == "reason":
                assert set(value.split("|")) <= served[name][label], expression
    assert grouped(expression) <= labels, expression


def test_the_rules_name_what_there_is(served) -> None:
    found = expressions_of_rules()
    assert len(found) == RULES.read_text().count("expr:") > 10
    for expression in found:
        check(expression, served)
    recorded = set(re.findall(r"record: (\S+)", RULES.read_text()))
    assert set(re.findall(r"inkling:[\w:]+", "\n".join(found))) == recorded


def test_the_dashboard_names_what_there_is(served) -> None:
    found = expressions_of_dashboard()
    assert len(found) > 20
    for expression in found:
        check(expression, served)


def test_a_wrong_name_would_be_found(served) -> None:
    for wrong in (
        "inkling_requests",
        'inkling_refusals_total{reason="overload"}',
        'inkling_jobs{status="failed"}',
        "sum by (worker) (inkling_jobs)",
    ):
        with pytest.raises(AssertionError):
            check(wrong, served)


def test_the_documentation_lists_every_metric_with_its_labels() -> None:
    rows = re.findall(r"^\| `(inkling_\w+)` \| (\w+) \|([^|]*)\|", OBSERVING, re.MULTILINE)
    listed = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert listed == {found.name: (found.kind, found.labels) for found in (*COUNTED, *WORKER_METRICS, *SERVICE_METRICS)}


def test_the_documentation_lists_every_alert() -> None:
    listed = re.findall(r"^\| `(Inkling\w+)` \|", OBSERVING, re.MULTILINE)
    assert listed == re.findall(r"alert: (\S+)", RULES.read_text())


def test_the_service_has_the_metrics_that_the_code_defines(served) -> None:
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in served}
    assert families == {found.name for found in (*COUNTED, *WORKER_METRICS, *SERVICE_METRICS)}


def promtool(*arguments: str | Path) -> None:
    program = services.find("promtool", "prometheus")
    found = subprocess.run([program, *arguments], capture_output=True, text=True, cwd=DEPLOY / "prometheus")
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.services
def test_prometheus_takes_its_configuration_and_the_rules() -> None:
    promtool("check", "config", "prometheus.yml")


@pytest.mark.services
def test_the_alerts_fire_when_they_should() -> None:
    promtool("test", "rules", Path(__file__).parent / "alerts.yml")


def test_grafana_12_takes_the_dashboard_as_it_is() -> None:
    """What its schema asks for: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/"""
    dashboard = json.loads(DASHBOARD.read_text())
    assert dashboard["schemaVersion"] == 41
    source = {"type": "prometheus", "uid": "${datasource}"}
    first, *others = dashboard["templating"]["list"]  # the others are looked up in what it chooses
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
    assert all(variable["datasource"] == source for variable in others)
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["type"] in {"stat", "timeseries", "heatmap"}
        assert panel["datasource"] == source
        assert panel["fieldConfig"].keys() == {"defaults", "overrides"}
        assert all(target["datasource"] == source for target in panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        if panel["type"] == "timeseries":
            assert panel["options"]["legend"]["showLegend"]


def test_the_panels_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert columns.stop <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
