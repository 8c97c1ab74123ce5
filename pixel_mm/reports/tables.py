"""Markdown tables and the way numbers are written in them."""

from collections.abc import Iterable, Sequence

MISSING = "-"


def percent(share: float | None) -> str:
    """A share 0..1 as "92.3 %"."""
    return MISSING if share is None else f"{100 * share:.1f} %"


def decimal(value: float | None, digits: int = 3) -> str:
    """A number with a fixed number of digits after the point."""
    return MISSING if value is None else f"{value:.{digits}f}"


def interval(limits: Sequence[float] | None) -> str:
    """Limits 0..1 as "88.0 to 95.1 %"."""
    return MISSING if limits is None else f"{100 * limits[0]:.1f} to {100 * limits[1]:.1f} %"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; the first column is text, the others are set flush right.

    Raises:
        ValueError: a row with more or fewer cells than the header.
    """
    lines = [list(header), ["---", *["---:"] * (len(header) - 1)]]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row has {len(row)} cells and the table {len(header)} columns: {row}")
        lines.append([str(cell).replace("|", "\\|").replace("\n", " ") for cell in row])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
