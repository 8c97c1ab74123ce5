"""Keeps out of the terminal what a user of this project can do nothing about, or need not."""

import logging
import warnings

_MESSAGES = (
    r".*module\(s\) in eval mode at the start of training",  # frozen parts are, on purpose
    r".*is smaller than the logging interval",  # every epoch is logged whatever its length
    r".*does not have many workers",  # decoded clips are kept in memory
    r".*exists and is not empty",  # a resumed run's folder
    r"Total length of `list` across ranks is zero",  # a fold without a validation part
    r".*treespec, LeafSpec",  # Lightning's own business with torch
)


def quiet_lightning() -> None:
    """Silence some of Lightning's warnings, and its advertisements."""
    for message in _MESSAGES:
        warnings.filterwarnings("ignore", message=message)
    for name in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(_is_no_advertisement)


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "💡" not in record.getMessage()
