from pathlib import Path

from models.errors import InklingError, printable


def test_control_characters_never_reach_the_terminal() -> None:
    assert printable(Path("a\x1b[2J\nb ü.png")) == "a?[2J?b ü.png"
    assert str(InklingError("a\nb\x1b[31m is no file")) == "a?b?[31m is no file"
