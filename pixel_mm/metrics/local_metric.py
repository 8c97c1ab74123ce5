"""`LocalMetric`: an `evaluate.Metric` that asks no hub and leaves no files.

`evaluate.load("name")` fetches code from a model hub. The project's metrics are subclasses instead, and they
keep what they are given in memory: many evaluations may run side by side on one cache folder.
"""

from typing import Any

import evaluate


class LocalMetric(evaluate.Metric):
    """Base of the project's metrics; a subclass gives `_info` and `_compute`."""

    def __init__(self, **kwargs: Any) -> None:
        """Keep predictions in memory unless told otherwise; `kwargs` are those of `evaluate.Metric`."""
        super().__init__(**{"keep_in_memory": True, **kwargs})
