"""Prints tables on a terminal and plain aligned columns in a pipe; the progress bar is the trainer's."""

from collections.abc import Sequence

from training.progress import Bar, console

__all__ = ["Bar", "console", "print_rows"]


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
