"""How commands end."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from models import cpus
from models.errors import InklingError


def keep_to_quota() -> None:
    """PyTorch computes with a thread for each core that it sees, and it does not see a container's quota."""
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), cpus.usable()))


@contextmanager
def ending(interrupted: str) -> Iterator[None]:
    """Status 130 and the line given after Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"{interrupted}\n")
        raise typer.Exit(130) from None


def run(app: typer.Typer, arguments: Sequence[str], name: str) -> NoReturn:
    """Runs a command line and exits: 2 and one line for what the caller can mend, wherever Typer has a box for it."""
    try:
        _check_none_is_empty(arguments)
        sys.exit(app(arguments, prog_name=name, standalone_mode=False))
    except InklingError as error:
        message = str(error)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else name
        message = f"{' '.join(error.format_message().split()).rstrip('.')}; see {path} --help"
    except OSError as error:  # a full disk behind standard output, and the like
        message = str(error)
    sys.stderr.write(f"error: {message}\n")
    sys.exit(2)


def _check_none_is_empty(arguments: Sequence[str]) -> None:
    """Raises BadParameter: an empty path would be the folder that one stands in, where a variable was not set."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if not argument:
            raise typer.BadParameter(f"an empty argument{f' after {before!r}' if before else ''}; expected a value")
        if argument.startswith("--") and argument.endswith("="):
            raise typer.BadParameter(f"nothing after {argument!r}; expected a value")
