"""What every benchmark writes: measures beside their targets, and what they were measured with."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pixel_mm.environment import describe_environment
from pixel_mm.runs import write_json


@dataclass(frozen=True, slots=True)
class Measure:
    """One number and whether it is good enough.

    Attributes:
        id: begins with the number of the target in the list it came from, e.g. "4" or "4-threads".
        what: the thing measured, in words: from which event to which, percentile, batch, length, device, threads.
        value: the number, None where it could not be measured.
        unit: of the value, e.g. "ms", "times", "clips/s", "UA".
        target: e.g. ">= 5"; None for a number that is shown beside others.
        interval: 95 % confidence interval or spread, [lowest, highest], None where there is none.
        against: what it was compared with, None for nothing.
    """

    id: str
    what: str
    value: float | None
    unit: str
    target: str | None = None
    interval: tuple[float, float] | None = None
    against: str | None = None

    def __post_init__(self) -> None:
        """Refuse a target that `reached` cannot judge."""
        if self.target is not None:
            _parse(self.target)

    @property
    def reached(self) -> bool | None:
        """Whether the value meets the target; None without a target."""
        if self.target is None:
            return None
        sign, bound = _parse(self.target)
        if self.value is None:
            return False
        return self.value >= bound if sign == ">=" else self.value <= bound

    def as_dict(self) -> dict[str, Any]:
        """The entry in the report."""
        content = asdict(self)
        interval, against = content.pop("interval"), content.pop("against")
        return {**content, "reached": self.reached, "interval": interval, "against": against}


def write_report(path: Path, topic: str, measures: Sequence[Measure], quick: bool = False) -> None:
    """Write measures as JSON, atomically.

    Args:
        path: file to write.
        topic: name of the benchmark's module.
        measures: in the order of their targets.
        quick: whether this was a smoke run, whose numbers mean nothing.

    Raises:
        OSError: the file cannot be written.
    """
    environment = describe_environment()
    commit = environment["commit"]
    write_json(
        path,
        {
            "topic": topic,
            "quick": quick,
            "command": environment["command"],
            "commit": f"{commit['hash']}-dirty" if commit["dirty"] else commit["hash"],
            "date": environment["date"],
            "machine": environment["machine"],
            "versions": {"python": environment["python"], **environment["versions"]},
            "measures": [measure.as_dict() for measure in measures],
        },
    )


def print_table(measures: Sequence[Measure]) -> None:
    """Show measures to a person."""
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "what", "value", "target", "reached", "against")
    for measure in measures:
        value = "-" if measure.value is None else f"{measure.value:.4g} {measure.unit}"
        reached = {True: "yes", False: "NO", None: ""}[measure.reached]
        table.add_row(measure.id, measure.what, value, measure.target or "", reached, measure.against or "")
    Console().print(table)


def _parse(target: str) -> tuple[Literal[">=", "<="], float]:
    sign, _, bound = target.partition(" ")
    if sign == ">=":
        return ">=", float(bound)
    if sign == "<=":
        return "<=", float(bound)
    raise ValueError(f"target '{target}' is neither '>= NUMBER' nor '<= NUMBER'")
