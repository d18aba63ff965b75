import dataclasses
import html.parser
import json
import re
import resource
from pathlib import Path

import pytest

from models.errors import HomeError
from models.inference.predictor import Predictor
from training.data.mnist import Digits
from training.evaluation.datasets import of_digits
from training.evaluation.evaluate import HELD_OUT, Evaluation, evaluated
from training.evaluation.generators.mnist_c import CORRUPTIONS
from training.evaluation.report import charts, writer
from training.evaluation.report.page import page
from training.progress import Report

pytestmark = pytest.mark.processes


@pytest.fixture(scope="session")
def folder(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("report") / "new" / "folder"
    assert writer.write(evaluation, found) == found / "index.html"
    return found


def test_the_report_is_two_files(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "metrics.json"]


def test_metrics_json_holds_the_metrics_of_each_kind(folder: Path, evaluation: Evaluation) -> None:
    found = json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert (found["model"], found["seed"]) == ("v7 <b>", 0)
    assert [kind["name"] for kind in found["kinds"]] == [kind.name for kind in evaluation.kinds]
    first = found["kinds"][0]
    assert (first["name"], first["pictures"], first["accuracy"]) == ("MNIST test", 10, 0.8)
    assert first["accuracy_interval"] == pytest.approx([0.4902, 0.9433], abs=1e-4)
    assert found["pooled"]["corrupted"]["pictures"] == 3 * len(CORRUPTIONS)
    assert 0 <= found["pooled"]["outliers"]["unsure"] <= 1


def test_the_page_loads_nothing_and_closes_its_tags(folder: Path) -> None:
    text = (folder / "index.html").read_text()
    links = re.findall(r"""(?:src|href)=["']?([^"'> ]+)""", text)
    assert len(links) > 20
    assert [link[:30] for link in links if not link.startswith(("data:image/png;base64,", "#"))] == []
    assert "v7 &lt;b&gt;" in text and "v7 <b>" not in text

    class Tags(html.parser.HTMLParser):
        open: list[str] = []

        def handle_starttag(self, tag: str, attributes: object) -> None:
            if tag not in ("meta", "img", "br"):
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    tags = Tags()
    tags.feed(text)
    assert tags.open == []


def test_the_page_shows_charts_metrics_and_mistakes(folder: Path, evaluation: Evaluation) -> None:
    text = (folder / "index.html").read_text()
    assert text.count("<svg") == 3
    for kind in evaluation.kinds:
        assert f"<td>{kind.name}</td>" in text
    assert "a 5, answered <b>0</b>" in text and "a 5, answered <b>1</b>" in text
    assert text.count("<figure") > 10
    assert re.search(r'<tr><th>5</th><td style="[^"]*">1</td><td style="[^"]*">1</td>', text)


def test_the_same_evaluation_gives_the_same_charts(evaluation: Evaluation) -> None:
    sets = {"all": evaluation.kinds[0].answers}
    for chart in (charts.reliability, charts.risk_coverage):
        assert chart(sets) == chart(sets)


def test_a_report_without_corruptions_and_mistakes(predictor: Predictor, printed: Digits, tmp_path: Path) -> None:
    kinds = evaluated(predictor, [("data sets", of_digits("MNIST test", printed))], Report(quiet=True))
    assert kinds[0].answers.correct.all()
    writer.write(Evaluation("v1", 0, kinds), tmp_path)
    assert "Mistakes" not in (tmp_path / "index.html").read_text()
    assert json.loads((tmp_path / "metrics.json").read_text())["kinds"][0]["auroc"] is None


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match=r"file/report cannot be written by uid \d+: Not a directory"):
        writer.prepare(tmp_path / "file" / "report")


def test_a_full_disk_leaves_the_last_report(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("the last report")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))  # enough for metrics.json, not for the page
    try:
        with pytest.raises(HomeError, match=r"cannot be written: File too large"):
            writer.write(evaluation, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "index.html").read_text() == "the last report"
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_a_folder_in_place_of_a_file_is_an_error_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "index.html").mkdir()
    with pytest.raises(HomeError, match=r"index.html is a folder"):
        writer.prepare(tmp_path)


def test_the_name_of_a_data_set_may_hold_any_character(evaluation: Evaluation, tmp_path: Path) -> None:
    first = dataclasses.replace(evaluation.kinds[0], name="a$^$b [bold]\u6570\u5b57")
    writer.write(dataclasses.replace(evaluation, kinds=[first]), tmp_path)
    assert "a$^$b [bold]\u6570\u5b57" in (tmp_path / "index.html").read_text()


def test_the_curves_leave_out_the_held_out_digits(evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    first = next(kind for kind in evaluation.kinds if kind.group == "data sets")
    others = [dataclasses.replace(first, name=name) for name in (HELD_OUT, "USPS zip.train.gz")]
    drawn: list[list[str]] = []
    monkeypatch.setattr(charts, "reliability", lambda sets: drawn.append(list(sets)) or "")
    page(dataclasses.replace(evaluation, kinds=[first, *others, *evaluation.kinds[1:]]))
    assert drawn == [["MNIST test", "USPS zip.train.gz", "corrupted"]]
