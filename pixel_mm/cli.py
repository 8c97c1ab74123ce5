"""How the commands start: Hydra composes the configuration, and a user's mistake ends in one clear message.

    from pixel_mm.cli import run
    if __name__ == "__main__":
        run(main, config_name="train")

Exit codes: 0 done, 2 a mistake that the user can correct, 130 interrupted; anything else is a defect, with traceback.
Setting HYDRA_FULL_ERROR=1 shows the traceback of mistakes too.
"""

import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pixel_mm.environment import is_secret_name

PACKAGE_DIR = Path(__file__).resolve().parent
# Beside the package in a checkout, in it once installed.
CONFIG_DIR = next((d for d in (PACKAGE_DIR / "conf", PACKAGE_DIR.parent / "conf") if d.is_dir()), PACKAGE_DIR / "conf")

USER_ERROR = 2
INTERRUPTED = 130
_FULL_ERROR = "HYDRA_FULL_ERROR"


class MissingOptionError(ValueError):
    """An option without a default that was not given."""


def run(main: Callable[[DictConfig], Any], config_name: str) -> None:
    """Run a command's main function with the configuration that the command line asks for.

    Args:
        main: takes the composed configuration; what it returns goes to Hydra's sweeper.
        config_name: file in `CONFIG_DIR` to start from, without suffix.

    Raises:
        SystemExit: with `USER_ERROR` after a mistake of the user's.
    """

    def checked(cfg: DictConfig) -> Any:
        refuse_missing(cfg)
        return main(cfg)

    wants_traceback = os.environ.get(_FULL_ERROR) == "1"
    try:
        _refuse_secrets(sys.argv[1:])
        with _errors_let_through():
            hydra.main(config_path=str(CONFIG_DIR), config_name=config_name, version_base="1.3")(checked)()
    except KeyboardInterrupt:
        _leave("interrupted; the same command with resume=RUN_DIR goes on from the last whole epoch", INTERRUPTED)
    except Exception as error:
        message = None if wants_traceback else explain(error)
        if message is None:
            raise
        _leave(message, USER_ERROR)


@contextmanager
def _errors_let_through() -> Iterator[None]:
    """Hydra prints errors itself and exits with 1, unless the environment asks it to let them through."""
    before = os.environ.get(_FULL_ERROR)
    os.environ[_FULL_ERROR] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FULL_ERROR]
        else:
            os.environ[_FULL_ERROR] = before


def explain(error: BaseException) -> str | None:
    """Message for a mistake that the user can correct, or None for anything else.

    Such are: what Hydra and OmegaConf refuse, files that cannot be read or written, a full disk, and what this package
    itself raises as ValueError (one out of a library's depth is a defect, and needs its traceback).
    """
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return f"the disk is full ({cause}); nothing half-written was left in place. Make room and run it again"
        if isinstance(cause, OSError) and cause.filename is not None:
            return str(cause)
        if isinstance(cause, ValueError) and _raised_here(cause):
            return str(cause)
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _explain_hydra(error)
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, then what it came from: Hydra wraps what a constructor raised."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _raised_here(error: BaseException) -> bool:
    """Whether the statement that raised is in this package."""
    trace = error.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return Path(trace.tb_frame.f_code.co_filename).resolve().is_relative_to(PACKAGE_DIR)


def refuse_missing(cfg: DictConfig) -> None:
    """Refuse a configuration in which an option that has no default is not given, before anything is done with it.

    Raises:
        MissingOptionError: names all of them.
    """
    missing = list(_missing(OmegaConf.to_container(cfg, resolve=False)))
    if missing:
        hint = "; docs/corpora.md says what each corpus's folder holds, and where to get it"
        raise MissingOptionError(
            f"{', '.join(missing)}: there is no default; add {' '.join(f'{name}=VALUE' for name in missing)}"
            f"{hint if any(name.endswith('data.root') for name in missing) else ''}"
        )


def _missing(node: Any, name: str = "") -> Iterator[str]:
    """Dotted names of the options that are still `???`."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _missing(value, f"{name}.{key}".lstrip("."))
    elif node == MISSING:
        yield name


def _explain_hydra(error: BaseException) -> str:
    """Hydra's message without its search path; it lists the choices where a name is unknown."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        text = f"{error.override} is not understood: {text}"
    if isinstance(error.__cause__, OmegaConfBaseException) and str(error.__cause__) not in text:
        text = f"{text}\n{error.__cause__}"
    text = re.sub(r"\n+Config search path:.*", "", text, flags=re.DOTALL)
    return re.sub(r"\n\s*full_key: .*|\n\s*object_type=.*", "", text).strip()


def _refuse_secrets(arguments: list[str]) -> None:
    """A secret on the command line ends in logs, process lists and Hydra's records of overrides."""
    for argument in arguments:
        name = argument.split("=", 1)[0].lstrip("+~")
        if "=" in argument and is_secret_name(name):
            raise ValueError(f"{name} looks like a secret: set it in the environment (WANDB_API_KEY), not as an option")


def _leave(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(code)
