"""How the command lines end: exit statuses, and one line for each error."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from models.errors import InklingError


@contextmanager
def exit_on_interrupt(message: str) -> Iterator[None]:
    """After Ctrl-C, prints the message and exits with status 130."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"{message}\n")
        raise typer.Exit(130) from None


def run_command_line(app: typer.Typer, arguments: Sequence[str], name: str) -> NoReturn:
    """Runs a command line and exits; an error that the caller can correct is one line, and status 2."""
    try:
        _check_none_is_empty(arguments)
        sys.exit(app(arguments, prog_name=name, standalone_mode=False))
    except InklingError as error:
        message = str(error)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else name
        message = f"{' '.join(error.format_message().split()).rstrip('.')}; see {path} --help"
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package in ("app", "models", "training"):
            raise
        message = f"{package} is not installed; this command needs pip install -e '.[train,evaluate]' in a checkout"
    except OSError as error:  # a full disk behind standard output, and the like
        message = str(error)
    sys.stderr.write(f"error: {message}\n")
    sys.exit(2)


def _check_none_is_empty(arguments: Sequence[str]) -> None:
    """Raises BadParameter for an empty value, as from an unset variable: as a path it would be the current folder."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if not argument:
            raise typer.BadParameter(f"an empty argument{f' after {before!r}' if before else ''}; expected a value")
        if argument.startswith("--") and argument.endswith("="):
            raise typer.BadParameter(f"nothing after {argument!r}; expected a value")
