import pytest

from app.cli import terminal
from tests.support.terminal import shown_on_terminal


def rows() -> None:
    terminal.print_rows(["digit", "how many"], [["1", "1,000"], ["[red]", ""]])


def test_rows_are_a_table_on_a_terminal_and_plain_columns_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    rows()
    assert capsys.readouterr().out == "digit  how many\n1      1,000\n[red]\n"
    shown = shown_on_terminal(rows)
    assert "┃" in shown
    assert "[red]" in shown
