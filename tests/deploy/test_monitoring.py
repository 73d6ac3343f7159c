"""Alerts and dashboard ask only for what the server really exports."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slow


def expressions_of(node: object) -> Iterator[str]:
    """Walk a document; yield each PromQL expression in it."""
    match node:
        case {"expr": str(text), **rest}:
            yield text
            yield from expressions_of(list(rest.values()))
        case dict():
            yield from expressions_of(list(node.values()))
        case list():
            for part in node:
                yield from expressions_of(part)


@pytest.fixture(scope="module")
def exported(deployed: Any, server_port: int) -> str:
    return str(deployed.get(server_port, "/metrics").body.decode())


@pytest.mark.parametrize("name", ["prometheus-alerts.yaml", "grafana-dashboard.json"])
def test_every_metric_that_is_asked_for_is_exported(
    deployed: Any, exported: str, name: str
):
    expressions = list(
        expressions_of(yaml.safe_load((deployed.DEPLOY / name).read_text()))
    )
    assert len(expressions) > 10
    # Samples with a label come to be with the first event: the type line is enough.
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", exported, re.MULTILINE))
    there = set(types) | {
        f"{metric}{suffix}"
        for metric, kind in types.items()
        if kind == "histogram"
        for suffix in ("_bucket", "_sum", "_count")
    }
    wanted = set(re.findall(r"\b(?:voicestatus|process)_\w+", " ".join(expressions)))
    assert wanted <= there


@pytest.mark.parametrize("name", ["prometheus-alerts.yaml", "grafana-dashboard.json"])
def test_every_label_value_that_is_asked_for_exists(
    deployed: Any, exported: str, name: str
):
    text = " ".join(
        expressions_of(yaml.safe_load((deployed.DEPLOY / name).read_text()))
    )
    asked = re.findall(
        r'(voicestatus_gateway_state|outcome|reason)=~?"([a-z|]+)"', text
    )
    assert asked
    for label, values in asked:
        for value in values.split("|"):
            assert f'{label}="{value}"' in exported


def test_the_dashboard_is_one_that_grafana_can_import(deployed: Any):
    dashboard = json.loads((deployed.DEPLOY / "grafana-dashboard.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert all(x + width <= 24 for x, _, width, _ in places)
    source = {"type": "prometheus", "uid": "${source}"}
    assert all(panel["datasource"] == source for panel in dashboard["panels"])
    assert {v["name"] for v in dashboard["templating"]["list"]} == {
        "source",
        "instance",
    }


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    assert found, "apt-get install -y --no-install-recommends prometheus"
    return found


def test_prometheus_understands_all_that_the_dashboard_asks(
    deployed: Any, promtool: str, tmp_path: Path
):
    dashboard = json.loads((deployed.DEPLOY / "grafana-dashboard.json").read_text())
    asked = [
        text.replace("$__rate_interval", "1m").replace("$instance", ".*")
        for text in expressions_of(dashboard)
    ]
    assert not any("$" in text for text in asked)
    rules = [{"record": f"panel{n}", "expr": text} for n, text in enumerate(asked)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    subprocess.run([promtool, "check", "rules", file], check=True, timeout=30)


FIRES = {
    "VoicestatusDown": {'up{job="voicestatus"}': "0x10"},
    "VoicestatusDiscordRefuses": {
        'voicestatus_gateway_state{voicestatus_gateway_state="stopped"}': "1x10"
    },
    "VoicestatusDiscordAway": {
        'voicestatus_gateway_state{voicestatus_gateway_state="ready"}': "1 0x20"
    },
    "VoicestatusDiscordRestless": {"voicestatus_gateway_reconnects_total": "0+1x60"},
    "VoicestatusIdentifyBudget": {"voicestatus_gateway_identifies_total": "0+20x60"},
    "VoicestatusEventsFail": {
        'voicestatus_gateway_events_total{outcome="failed"}': "0x10 1x10"
    },
    "VoicestatusStoreFails": {"voicestatus_gateway_store_failures_total": "0x10 1x10"},
    "VoicestatusSignsGone": {"voicestatus_device_connections": "100x60 40x11"},
    "VoicestatusSignsHeld": {"voicestatus_device_held": "3x40"},
    "VoicestatusSlow": {
        'voicestatus_event_to_frame_seconds_bucket{le="0.5"}': "0x40",
        'voicestatus_event_to_frame_seconds_bucket{le="1"}': "0+1x40",
        'voicestatus_event_to_frame_seconds_bucket{le="+Inf"}': "0+1x40",
    },
    "VoicestatusStalls": {
        'voicestatus_reactor_lag_seconds_bucket{le="0.5"}': "0x40",
        'voicestatus_reactor_lag_seconds_bucket{le="1"}': "0+1x40",
        'voicestatus_reactor_lag_seconds_bucket{le="+Inf"}': "0+1x40",
    },
    "VoicestatusDescriptors": {
        'process_open_fds{job="voicestatus"}': "900x10",
        'process_max_fds{job="voicestatus"}': "1024x10",
    },
}
"""What each alert is for, a value a minute; it fires at the end."""
FINE = {
    'up{job="voicestatus"}': "1x60",
    'voicestatus_gateway_state{voicestatus_gateway_state="stopped"}': "0x60",
    'voicestatus_gateway_state{voicestatus_gateway_state="ready"}': "1 0 1x58",
    "voicestatus_gateway_reconnects_total": "0x30 1x30",
    "voicestatus_gateway_identifies_total": "1x60",
    'voicestatus_gateway_events_total{outcome="failed"}': "0x60",
    'voicestatus_gateway_events_total{outcome="applied"}': "0+9x60",
    "voicestatus_gateway_store_failures_total": "0x60",
    "voicestatus_device_connections": "100x50 80x10",
    "voicestatus_device_held": "0x60",
    'voicestatus_event_to_frame_seconds_bucket{le="0.01"}': "0+1x60",
    'voicestatus_event_to_frame_seconds_bucket{le="+Inf"}': "0+1x60",
    'voicestatus_reactor_lag_seconds_bucket{le="0.001"}': "0+1x60",
    'voicestatus_reactor_lag_seconds_bucket{le="+Inf"}': "0+1x60",
    'process_open_fds{job="voicestatus"}': "130x60",
    'process_max_fds{job="voicestatus"}': "65536x60",
}


def test_each_alert_fires_for_what_it_is_for_and_no_other(
    deployed: Any, promtool: str, tmp_path: Path
):
    rules = deployed.DEPLOY / "prometheus-alerts.yaml"
    groups = yaml.safe_load(rules.read_text())["groups"]
    names = [rule["alert"] for group in groups for rule in group["rules"]]
    assert names == list(FIRES)
    query = "count by (alertname) (ALERTS{alertstate='firing'})"
    cases = [
        {
            "interval": "1m",
            "input_series": [
                {"series": series, "values": values}
                for series, values in (FIRES[name] if name else FINE).items()
            ],
            "promql_expr_test": [
                {
                    "expr": query,
                    "eval_time": f"{60 if name is None else minutes(FIRES[name])}m",
                    "exp_samples": name
                    and [{"labels": f'{{alertname="{name}"}}', "value": 1}],
                }
            ],
        }
        for name in (None, *names)
    ]
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "tests": cases}))
    done = subprocess.run(
        [promtool, "test", "rules", file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def minutes(series: dict[str, str]) -> int:
    """Return for how long the series go on: `100x60 40x11` has 61 + 12 values."""
    parts = next(iter(series.values())).split()
    return sum(int(part.partition("x")[2] or 0) + 1 for part in parts) - 1
