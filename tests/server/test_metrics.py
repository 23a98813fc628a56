"""What happened is in the metrics under the names that dashboards use, and labels take few values."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from fantasyid_engine.server.metrics import MOST_VALUES, Metrics

DASHBOARD = Path(__file__).parents[2] / "docs" / "serving" / "grafana-dashboard.json"
NAME = re.compile(r"\b(?:fantasyid|process)_[a-z0-9_]+\b")


def samples(metrics: Metrics) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    text, content_type = metrics.render()
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[name][tuple(sorted(labels.items()))]


def said_everything() -> Metrics:
    metrics = Metrics()
    metrics.request("POST", "/v1/videos", 200, 0.02)
    metrics.job_created()
    metrics.job_finished("completed", None, 1.5, 40.0)
    metrics.job_finished("failed", "face_not_found", 0.5, None)
    metrics.stage("denoise", 35.0)
    metrics.worker_state("cuda:0", "ready")
    metrics.worker_busy("cuda:0", 40.0)
    metrics.worker_restarted("cuda:0")
    metrics.queue({"queued": 3, "in_progress": 1})
    metrics.out_of_memory()
    metrics.webhook("delivered")
    return metrics


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs; the second counts no memory errors."""

    def errors(device: int, kind: int, since: int) -> int:
        if device:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return 2 if kind == pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED else 1

    driver: dict[str, Any] = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetMemoryInfo": lambda device: SimpleNamespace(used=10 + device, total=100),
        "nvmlDeviceGetUtilizationRates": lambda device: SimpleNamespace(gpu=50, memory=1),
        "nvmlDeviceGetTemperature": lambda device, sensor: 60,
        "nvmlDeviceGetTotalEccErrors": errors,
    }
    for name, function in driver.items():
        monkeypatch.setattr(pynvml, name, function)


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)


@pytest.mark.usefixtures("no_driver")
def test_what_happened_is_counted() -> None:
    metrics = said_everything()
    assert value(metrics, "fantasyid_http_requests_total", method="POST", route="/v1/videos", status="200") == 1
    assert value(metrics, "fantasyid_http_request_duration_seconds_sum", method="POST", route="/v1/videos") == 0.02
    assert value(metrics, "fantasyid_jobs_created_total") == 1
    assert value(metrics, "fantasyid_jobs_finished_total", status="completed", code="none") == 1
    assert value(metrics, "fantasyid_jobs_finished_total", status="failed", code="face_not_found") == 1
    assert value(metrics, "fantasyid_job_wait_seconds_count") == 2
    assert value(metrics, "fantasyid_job_render_seconds_sum", status="completed") == 40
    assert value(metrics, "fantasyid_stage_duration_seconds_bucket", stage="denoise", le="60.0") == 1
    assert value(metrics, "fantasyid_stage_duration_seconds_bucket", stage="denoise", le="30.0") == 0
    assert value(metrics, "fantasyid_worker_busy_seconds_total", worker="cuda:0") == 40
    assert value(metrics, "fantasyid_worker_restarts_total", worker="cuda:0") == 1
    assert value(metrics, "fantasyid_out_of_memory_total") == 1
    assert value(metrics, "fantasyid_webhook_attempts_total", outcome="delivered") == 1
    assert samples(metrics)["fantasyid_build_info"]


@pytest.mark.usefixtures("no_driver")
def test_a_worker_is_in_one_state_and_a_state_that_is_empty_has_none() -> None:
    metrics = Metrics()
    for state in ("starting", "ready", "busy", "ready"):
        metrics.worker_state("cuda:0", state)
    states = samples(metrics)["fantasyid_worker_state"]
    assert {dict(labels)["state"]: on for labels, on in states.items()} == {"starting": 0, "ready": 1, "busy": 0}
    metrics.queue({"queued": 3})
    metrics.queue({"in_progress": 1})
    assert value(metrics, "fantasyid_jobs", state="queued") == 0
    assert value(metrics, "fantasyid_jobs", state="in_progress") == 1


@pytest.mark.usefixtures("no_driver")
def test_labels_take_few_values_whatever_comes() -> None:
    metrics = Metrics()
    for number in range(10 * MOST_VALUES):
        metrics.request(f"M{number}", f"/path/{number}", 10_000 + number, 0.1)
        metrics.job_finished("failed", f"code_{number}", 1.0, None)
        metrics.worker_busy(f"worker {number}\n", 1.0)
        metrics.stage('a"b{}' * 100, 1.0)
    found = samples(metrics)
    assert len(found["fantasyid_http_requests_total"]) == MOST_VALUES + 1
    assert len(found["fantasyid_jobs_finished_total"]) == MOST_VALUES + 1
    assert value(metrics, "fantasyid_worker_busy_seconds_total", worker="other") == 10 * MOST_VALUES
    assert value(metrics, "fantasyid_stage_duration_seconds_count", stage="other") == 10 * MOST_VALUES
    assert value(metrics, "fantasyid_jobs_finished_total", status="failed", code="other") == 9 * MOST_VALUES


@pytest.mark.usefixtures("no_driver")
def test_a_clock_that_was_set_back_counts_nothing() -> None:
    metrics = Metrics()
    metrics.worker_busy("cpu", -5.0)
    metrics.job_finished("completed", None, -1.0, -1.0)
    assert value(metrics, "fantasyid_worker_busy_seconds_total", worker="cpu") == 0
    assert value(metrics, "fantasyid_job_wait_seconds_sum") == 0


@pytest.mark.usefixtures("no_driver")
def test_two_servers_count_apart_and_nothing_is_global() -> None:
    before = {family.name for family in REGISTRY.collect()}
    one, other = said_everything(), Metrics()
    one.job_created()
    assert (value(one, "fantasyid_jobs_created_total"), value(other, "fantasyid_jobs_created_total")) == (2, 0)
    assert {family.name for family in REGISTRY.collect()} == before


@pytest.mark.usefixtures("gpus")
def test_gpus_tell_what_they_know() -> None:
    metrics = Metrics()
    assert value(metrics, "fantasyid_gpu_memory_used_bytes", gpu="1") == 11
    assert value(metrics, "fantasyid_gpu_memory_total_bytes", gpu="0") == 100
    assert value(metrics, "fantasyid_gpu_utilisation_ratio", gpu="0") == 0.5
    assert value(metrics, "fantasyid_gpu_temperature_celsius", gpu="0") == 60
    assert value(metrics, "fantasyid_gpu_ecc_errors_total", gpu="0", kind="corrected") == 2
    assert value(metrics, "fantasyid_gpu_ecc_errors_total", gpu="0", kind="uncorrected") == 1
    assert len(samples(metrics)["fantasyid_gpu_ecc_errors_total"]) == 2


@pytest.mark.usefixtures("no_driver")
def test_without_a_driver_there_are_no_gpus() -> None:
    assert not [name for name in samples(said_everything()) if "_gpu_" in name]


@pytest.mark.usefixtures("gpus")
def test_a_gpu_that_falls_silent_fails_no_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = said_everything()
    metrics.render()

    def lost(device: int) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lost)
    assert "fantasyid_gpu_memory_used_bytes" not in samples(metrics)


@pytest.mark.gpu
def test_a_real_gpu_tells_of_its_memory() -> None:
    metrics = Metrics()
    assert value(metrics, "fantasyid_gpu_memory_used_bytes", gpu="0") > 0
    assert value(metrics, "fantasyid_gpu_memory_total_bytes", gpu="0") > 1 << 30
    assert 0 <= value(metrics, "fantasyid_gpu_utilisation_ratio", gpu="0") <= 1


def queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    inner = [panel for row in panels for panel in (row, *row.get("panels", []))]
    return [target["expr"] for panel in inner for target in panel.get("targets", [])]


@pytest.mark.usefixtures("gpus")
def test_the_dashboard_shows_what_there_is() -> None:
    shown = {name for query in queries() for name in NAME.findall(query)}
    there = set(samples(said_everything()))
    assert shown and shown <= there, shown - there
    # Families, without what their samples' names end in.
    families = {re.sub(r"_(total|bucket|sum|count|created)$", "", name) for name in there if "fantasyid" in name}
    assert {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in shown if "fantasyid" in name} == families


@pytest.mark.usefixtures("gpus")
def test_the_dashboard_groups_by_labels_that_there_are() -> None:
    labels = {
        name: {label for series in found for label, _ in series} for name, found in samples(said_everything()).items()
    }
    for query in queries():
        known = set().union(*(labels[name] for name in NAME.findall(query)))
        grouped = {label.strip() for inside in re.findall(r"by \(([^)]*)\)", query) for label in inside.split(",")}
        matched = set(re.findall(r"([a-z_]+)(?:=~|!~|!=|=)\"", query))
        assert grouped | matched <= known | {"job", "instance"}, query


def test_the_dashboard_can_be_imported() -> None:
    board = json.loads(DASHBOARD.read_text())
    assert board["schemaVersion"] >= 39 and board["id"] is None and board["uid"]
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels if panel["type"] != "row")
