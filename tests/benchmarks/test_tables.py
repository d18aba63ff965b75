import pytest

from benchmarks.tables import Target, spread, table, targets_table


@pytest.mark.parametrize(
    ("values", "at_most", "met"),
    [
        ([], False, "not measured"),
        ([2.4, 2.4, 9], False, "no"),
        ([2.5], False, "yes"),
        ([4, 3.9, 4.1], False, "stretch"),
        ([2.5], True, "yes"),
        ([2.6], True, "no"),
    ],
)
def test_the_median_decides_whether_a_target_is_met(values: list[float], at_most: bool, met: str) -> None:
    assert Target("x", 2.5, None if at_most else 4, values, at_most).met == met


def test_a_target_without_a_stretch() -> None:
    assert Target("lost", 0, None, [0], at_most=True).met == "yes"
    assert Target("lost", 0, None, [1], at_most=True).met == "no"


def test_a_spread_is_the_median_with_the_extremes() -> None:
    assert spread([3, 1, 2.5], "{:.1f}") == "2.5 (1.0 to 3.0)"
    assert spread([3], "{:.1f}") == "3.0"


def test_tables_are_markdown_with_columns_of_one_width() -> None:
    lines = table(["a", "longer"], [["something", "1"]]).splitlines()
    assert lines == ["| a         | longer |", "|-----------|--------|", "| something | 1      |"]


def test_the_table_of_targets_shows_bound_value_and_verdict() -> None:
    targets = [Target("fast", 3, 5, [4], form="{:.0f}", note="once"), Target("small", 10, None, [11], at_most=True)]
    _, _, fast, small = targets_table(targets).splitlines()
    assert [cell.strip() for cell in fast.split("|")[1:-1]] == ["fast", "at least 3, 5", "4; once", "yes"]
    assert [cell.strip() for cell in small.split("|")[1:-1]] == ["small", "at most 10", "11.00", "no"]
