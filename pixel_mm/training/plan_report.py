"""A plan as tables for a person, and as JSON."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pixel_mm.runs import write_json
from pixel_mm.training.plan import Plan

_GIB = 2**30


def plan_content(plan: Plan) -> dict[str, Any]:
    """All numbers by name, in plain types; bytes, FLOPs and seconds."""
    return {
        "parameters": dict(plan.parameters),
        "disk_bytes": dict(plan.disk),
        "layers": list(plan.layers),
        "batch": {
            "rows": plan.shape.rows,
            "tokens": plan.shape.tokens,
            "answer_tokens": plan.shape.answer_tokens,
            "seconds": plan.shape.seconds,
            "products_in": str(plan.shape.autocast or "as stored"),
        },
        "assumptions": dict(plan.settings),
        "modes": {
            name: {
                "memory_bytes": {**vars(mode.memory), "total": mode.memory.total},
                "step_flops": mode.step.flops,
                "devices": {
                    device: {
                        "fits": plan.free_bytes(name, device) >= 0,
                        "free_bytes": round(plan.free_bytes(name, device)),
                        "seconds_per_step": plan.seconds_per_step(name, device),
                    }
                    for device in plan.devices
                },
            }
            for name, mode in plan.modes.items()
        },
    }


def write_plan(plan: Plan, path: Path) -> None:
    """Write it as JSON, atomically."""
    write_json(path, plan_content(plan))


def print_plan(plan: Plan, console: Console | None = None) -> None:
    """Show it."""
    out = Console() if console is None else console
    for table in _tables(plan):
        out.print(table)
    out.print(
        f"A batch of {plan.shape.rows} rows of {plan.shape.tokens} tokens, {plan.shape.answer_tokens} of answers, "
        f"voices of {plan.shape.seconds:g} s; frames of the encoders are kept. Speeds are published ones times "
        f"{plan.settings['utilisation']:g}, an assumption, as is the allowance."
    )


def _tables(plan: Plan) -> Iterable[Table]:
    parameters = Table("parameters", "million", title=f"Blocks before layers {', '.join(map(str, plan.layers))}")
    for name, count in plan.parameters.items():
        parameters.add_row(name, f"{count / 1e6:,.1f}")
    disk = Table("disk", "GB")
    for name, size in plan.disk.items():
        disk.add_row(name, f"{size / 1e9:,.2f}")
    memory = Table("memory, GiB", *plan.modes)
    for name in ("frozen", "trained", "optimiser", "step"):
        memory.add_row(name, *(f"{getattr(mode.memory, name) / _GIB:,.2f}" for mode in plan.modes.values()))
    memory.add_row("allowance of a GPU", *(f"{plan.settings['allowance_gib']:,.2f}" for _ in plan.modes))
    sums = (mode.memory.total / _GIB + plan.settings["allowance_gib"] for mode in plan.modes.values())
    memory.add_row("sum", *(f"{each:,.2f}" for each in sums))
    memory.add_row("work of a step, TFLOP", *(f"{mode.step.flops / 1e12:,.2f}" for mode in plan.modes.values()))
    devices = Table("GPU", "GiB", *(f"{name}: {what}" for name in plan.modes for what in ("fits", "s a step")))
    for device, facts in plan.devices.items():
        cells = []
        for name in plan.modes:
            free = plan.free_bytes(name, device) / _GIB
            cells.append(f"yes, {free:.1f} GiB free" if free >= 0 else f"no, {-free:.1f} GiB missing")
            cells.append(f"{plan.seconds_per_step(name, device):.3g}" if free >= 0 else "-")
        devices.add_row(device, f"{facts['memory_gib']:g}", *cells)
    return parameters, disk, memory, devices
