"""Metrics of the GPUs, asked of NVIDIA's driver each time somebody looks; none where there is no driver.

What a card does not tell (many correct no memory errors) is left out, and nothing of it fails a scrape.
"""

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class GpuCollector(Collector):
    """Memory, use, temperature and memory errors of each GPU of the machine, labelled by its number."""

    def __init__(self, prefix: str) -> None:
        """`prefix` comes before all names."""
        self._prefix = f"{prefix}_gpu"
        self._devices: list[Any] | None = None

    def describe(self) -> list[Metric]:
        """Nothing is asked when the collector is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """A family a measure that at least one GPU tells of."""
        import pynvml

        if self._devices is None:
            self._devices = _devices(pynvml)
        used = self._gauge("memory_used_bytes", "Memory in use, by all programs.")
        total = self._gauge("memory_total_bytes", "Memory there is.")
        use = self._gauge("utilisation_ratio", "Share of the last moments in which it was busy.")
        heat = self._gauge("temperature_celsius", "Of the chip.")
        errors = CounterMetricFamily(
            f"{self._prefix}_ecc_errors", "Memory errors since the driver was loaded.", labels=["gpu", "kind"]
        )
        kinds = {
            "corrected": pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED,
            "uncorrected": pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
        }
        for number, device in enumerate(self._devices):
            gpu = str(number)
            if (memory := _told(pynvml, "nvmlDeviceGetMemoryInfo", device)) is not None:
                used.add_metric([gpu], memory.used)
                total.add_metric([gpu], memory.total)
            if (rates := _told(pynvml, "nvmlDeviceGetUtilizationRates", device)) is not None:
                use.add_metric([gpu], rates.gpu / 100)
            if (celsius := _told(pynvml, "nvmlDeviceGetTemperature", device, pynvml.NVML_TEMPERATURE_GPU)) is not None:
                heat.add_metric([gpu], celsius)
            for kind, which in kinds.items():
                count = _told(pynvml, "nvmlDeviceGetTotalEccErrors", device, which, pynvml.NVML_VOLATILE_ECC)
                if count is not None:
                    errors.add_metric([gpu, kind], count)
        yield from (family for family in (used, total, use, heat, errors) if family.samples)

    def _gauge(self, name: str, text: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"{self._prefix}_{name}", text, labels=["gpu"])


def _devices(nvml: Any) -> list[Any]:
    """All GPUs; none where there is no driver, which does not come while this process lives."""
    try:
        nvml.nvmlInit()
        return [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:
        return []


def _told(nvml: Any, question: str, *arguments: Any) -> Any:
    """The driver's answer; None where there is none."""
    try:
        return getattr(nvml, question)(*arguments)
    except nvml.NVMLError:
        return None
