"""Progress of long work: a bar on a terminal, plain lines in a pipe.

The command line of the service uses the bar, too; so rich is imported only where something is shown.
"""

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.text import Text

DELAY_SECONDS = 1
"""Work that ends sooner shows no bar."""


def console(stderr: bool = False) -> "Console":
    """Prints text as it is: no markup, no highlighting, no line breaks of its own."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


class Bar:
    """Counts up to `total`, with rate and remaining time, on a terminal.

    It is drawn on standard output's terminal, or else on standard error's, because the lines of a command may be
    redirected to a file. While it is there, lines go through `print`.
    """

    def __init__(
        self, title: str, total: float | None, unit: str, quiet: bool = False, lines: "Console | None" = None
    ) -> None:
        """quiet: no bar, lines alone. lines: the console that prints them."""
        self._lines = lines or console()
        screen = self._lines if self._lines.is_terminal else console(stderr=True)
        self._progress = _progress(screen, unit) if screen.is_terminal and not quiet else None
        if self._progress:
            self._task = self._progress.add_task(title, total=total)
            self._start = threading.Timer(DELAY_SECONDS, self._progress.start)
            self._start.daemon = True

    def __enter__(self) -> "Bar":
        if self._progress:
            self._start.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._progress:
            self._start.cancel()
            self._start.join()
            self._progress.stop()

    def print(self, line: "str | Text") -> None:
        if self._lines.is_terminal:
            self._lines.print(line)
        else:
            sys.stdout.write(f"{line}\n")

    def advance(self, count: float) -> None:
        if self._progress:
            self._progress.advance(self._task, count)

    def update(self, completed: float | None = None, title: str | None = None) -> None:
        if self._progress:
            self._progress.update(self._task, completed=completed, description=title)


class Report:
    """Prints lines to standard output, flushed at once, and makes bars. quiet: prints nothing."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = console()

    def line(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text)
            self._console.file.flush()

    def scores(self, loss: float, accuracy: float) -> None:
        """An epoch's figures. They stand in its line as well, so nothing is printed; a subclass may draw a chart."""

    def bar(self, title: str, total: int) -> Bar:
        """A bar that counts images."""
        return Bar(title, total, "images", self._quiet, self._console)


def _progress(screen: "Console", unit: str) -> "Progress":
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:,.0f} {unit}/s", style="progress.data.speed")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
        redirect_stderr=sys.stderr.isatty(),
    )
