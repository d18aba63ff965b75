"""How the commands of this room end."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from models.errors import InklingError


@contextmanager
def ending(interrupted: str) -> Iterator[None]:
    """Status 2 and one line for what the caller can mend; 130 and the line given after Ctrl-C."""
    try:
        yield
    except InklingError as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        sys.stderr.write(f"{interrupted}\n")
        raise typer.Exit(130) from None
