"""What a command shows: tables and bars where a person looks on, plain aligned lines in a pipe."""

import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

DELAY_SECONDS = 1
"""What is done sooner needs no bar."""


def console(stderr: bool = False) -> "Console":
    """Prints text as it is: no markup, no guessing at colours, no line breaks of its own."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


def print_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    screen = console()
    if screen.is_terminal:
        from rich.table import Table

        table = Table(*header)
        for row in rows:
            table.add_row(*row)
        screen.print(table)
        return
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in [header, *rows]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        screen.print(line.rstrip())


class Bar:
    """Counts up to `total`, with rate and time left, once a second has passed, where a person looks on.

    On standard output's terminal, else on standard error's: the lines of a command that is written to a file are
    counted too. What is printed meanwhile goes through `print`.
    """

    def __init__(self, title: str, total: float | None, unit: str, quiet: bool = False) -> None:
        from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(f"{task.speed or 0:,.0f} {unit}/s")

        self._lines = console()
        screen = self._lines if self._lines.is_terminal else console(stderr=True)
        self._visible = screen.is_terminal and not quiet
        columns = (TextColumn("{task.description}"), BarColumn(), Rate(), TimeRemainingColumn())
        self._progress = Progress(
            *columns,
            console=screen,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=sys.stderr.isatty(),
        )
        self._task = self._progress.add_task(title, total=total)
        self._start = threading.Timer(DELAY_SECONDS, self._progress.start)
        self._start.daemon = True

    def __enter__(self) -> "Bar":
        if self._visible:
            self._start.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._visible:
            self._start.cancel()
            self._start.join()
            self._progress.stop()

    def print(self, line: "str | Text") -> None:
        if self._lines.is_terminal:
            self._lines.print(line)
        else:
            sys.stdout.write(f"{line}\n")

    def advance(self, count: float) -> None:
        self._progress.advance(self._task, count)

    def move(self, completed: float, title: str) -> None:
        self._progress.update(self._task, completed=completed, description=title)
