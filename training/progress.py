"""What a person sees while something long runs: a bar on a terminal, plain lines in a pipe."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class Report:
    """Lines go to standard output at once; bars are drawn only where somebody can see them move."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(quiet=quiet, highlight=False, soft_wrap=True)

    def line(self, text: str) -> None:
        self._console.print(text, markup=False, emoji=False)
        self._console.file.flush()

    def scores(self, loss: float, accuracy: float) -> None:
        """What an epoch has come to, for whoever draws a chart of it: a person reads its line."""

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator["Bar"]:
        """A bar that counts images up to total, with rate and time left."""
        columns = (TextColumn("{task.description}"), BarColumn(), _Rate(), TimeRemainingColumn())
        visible = self._console.is_terminal and not self._console.quiet
        with Progress(*columns, console=self._console, transient=True, disable=not visible) as progress:
            yield Bar(progress, title, total)


class Bar:
    def __init__(self, progress: Progress, title: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=total)

    def advance(self, images: int) -> None:
        if not self._progress.disable:
            self._progress.advance(self._task, images)

    def retitle(self, title: str) -> None:
        self._progress.update(self._task, description=title)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f} images/s", style="progress.data.speed")
