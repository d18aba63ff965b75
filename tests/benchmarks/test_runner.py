import json
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as listing
from benchmarks import runner
from benchmarks.machine import BenchmarkError
from benchmarks.runner import Report
from benchmarks.tables import Target
from tests.support.environment import ROOT


def ended(monkeypatch: pytest.MonkeyPatch, measure, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
    monkeypatch.setattr(runner.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        runner.main(runner.parser("example", "Measures.", rounds=3, parts=("one", "two")), measure)
    return end.value.code


def test_a_report_is_printed_and_written_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = Report(["| a |"], [Target("fast", 1, None, [2.0])], {"raw": [1, 2]})
    assert ended(monkeypatch, lambda options: report, "--json", str(tmp_path / "figures.json")) == 0
    assert "\n\n| a |\n\n" in capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["raw"] == [1, 2]
    assert figures["targets"][0]["met"] == "yes"


def test_a_failed_measurement_ends_with_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(monkeypatch, lambda options: Report(failed=True)) == 1


def test_a_benchmark_that_cannot_run_ends_with_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(options: object) -> Report:
        raise BenchmarkError("install it")

    assert ended(monkeypatch, measure) == 2
    assert "install it" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("--rounds", "0"), ("--only", "three")])
def test_wrong_arguments_end_with_status_2(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, str]) -> None:
    assert ended(monkeypatch, lambda options: Report(), *arguments) == 2


def test_the_list_names_every_benchmark_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    listing.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == [f"benchmarks.{name}" for name in listing.NAMES]
    assert all(listing.summary(name) for name in listing.NAMES)


def test_the_document_has_a_section_for_every_benchmark() -> None:
    sections = [line for line in (ROOT / "docs" / "benchmarks.md").read_text().splitlines() if line.startswith("## ")]
    assert {line.removeprefix("## ").partition(":")[0] for line in sections} >= set(listing.NAMES)
