import dataclasses
import html.parser
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import HomeError
from models.inference.predictor import Predictor
from training.data.mnist import Digits
from training.evaluation import evaluate
from training.evaluation.datasets import of_digits
from training.evaluation.evaluate import Evaluation
from training.evaluation.report import charts, writer
from training.evaluation.report.page import page
from training.progress import Report

pytest.importorskip("matplotlib")


@pytest.fixture(scope="session")
def evaluation(printed: Digits, predictor: Predictor) -> Evaluation:
    """Two pictures of every kind, and the printed digits for a data set, two with a wrong label."""
    labels = printed.labels.clone()
    labels[:2] = 5
    sources = [("data sets", of_digits("MNIST test", Digits(printed.images, labels)))]
    sources += evaluate.made(printed, printed, pictures=2, seed=0)
    return Evaluation("v7 <b>", 0, evaluate.measured(predictor, sources, Report(quiet=True)))


@pytest.fixture(scope="session")
def folder(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("report") / "new" / "folder"
    assert writer.write(evaluation, found) == found / "index.html"
    return found


def test_there_are_two_files_and_nothing_else(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "metrics.json"]


def test_the_figures_for_programs(folder: Path, evaluation: Evaluation) -> None:
    found = json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert (found["model"], found["seed"]) == ("v7 <b>", 0)
    assert [kind["name"] for kind in found["kinds"]] == [kind.name for kind in evaluation.kinds]
    first = found["kinds"][0]
    assert (first["name"], first["pictures"], first["accuracy"]) == ("MNIST test", 10, 0.8)
    assert first["accuracy_interval"] == pytest.approx([0.4902, 0.9433], abs=1e-4)
    assert found["together"]["damaged"]["pictures"] == 30
    assert 0 <= found["together"]["no digit"]["unsure"] <= 1


def test_the_page_needs_no_other_file_and_closes_its_tags(folder: Path) -> None:
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


def test_the_page_shows_charts_figures_and_mistakes(folder: Path, evaluation: Evaluation) -> None:
    text = (folder / "index.html").read_text()
    assert text.count("<svg") == 3
    for kind in evaluation.kinds:
        assert f"<td>{kind.name}</td>" in text
    assert "a 5, read as <b>0</b>" in text and "a 5, read as <b>1</b>" in text
    assert text.count("<figure") > 10
    assert re.search(r'<tr><th>5</th><td style="[^"]*">1</td><td style="[^"]*">1</td>', text)


def test_the_same_evaluation_gives_the_same_charts(evaluation: Evaluation) -> None:
    sets = {"all": evaluation.kinds[0].answers}
    for chart in (charts.reliability, charts.risk_coverage):
        assert chart(sets) == chart(sets)


def test_without_damage_and_without_errors(predictor: Predictor, printed: Digits, tmp_path: Path) -> None:
    kinds = evaluate.measured(predictor, [("data sets", of_digits("MNIST test", printed))], Report(quiet=True))
    assert kinds[0].answers.right.all()
    writer.write(Evaluation("v1", 0, kinds), tmp_path)
    assert "Worst mistakes" not in (tmp_path / "index.html").read_text()
    assert json.loads((tmp_path / "metrics.json").read_text())["kinds"][0]["auroc"] is None


def test_a_folder_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match=r"file/report cannot be written by uid \d+: Not a directory"):
        writer.prepare(tmp_path / "file" / "report")


def test_a_full_disk_leaves_nothing_half_written(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("the last report")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))  # enough for the figures, not for the pictures
    try:
        with pytest.raises(HomeError, match=r"the report can not be written to .*: File too large"):
            writer.write(evaluation, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "index.html").read_text() == "the last report"
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_a_folder_where_a_file_belongs_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "index.html").mkdir()
    with pytest.raises(HomeError, match=r"index.html is a folder, where the report has a file"):
        writer.prepare(tmp_path)


def test_a_data_set_may_have_any_name(evaluation: Evaluation, tmp_path: Path) -> None:
    first = dataclasses.replace(evaluation.kinds[0], name="a$^$b [bold]\u6570\u5b57")
    writer.write(dataclasses.replace(evaluation, kinds=[first]), tmp_path)
    assert "a$^$b [bold]\u6570\u5b57" in (tmp_path / "index.html").read_text()
    assert "a$^$b [bold]\u6570\u5b57" in evaluate.table(dataclasses.replace(evaluation, kinds=[first]))


def test_the_curves_leave_out_what_confidence_was_fitted_to(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = next(kind for kind in evaluation.kinds if kind.group == "data sets")
    others = [dataclasses.replace(first, name=name) for name in (evaluate.HELD_OUT, "USPS zip.train.gz")]
    drawn: list[list[str]] = []
    monkeypatch.setattr(charts, "reliability", lambda sets: drawn.append(list(sets)) or "")
    page(dataclasses.replace(evaluation, kinds=[first, *others, *evaluation.kinds[1:]]))
    assert drawn == [["MNIST test", "USPS zip.train.gz", "damaged"]]


def test_without_matplotlib_there_is_one_line_that_names_the_extra(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from pathlib import Path; from training.evaluation.report import writer\n"
        "from models.errors import InklingError\n"
        "try: writer.prepare(Path('report'))\n"
        "except InklingError as error: print(error)\n"
    )
    root = Path(writer.__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(root)})
    assert done.stdout == "the report needs Matplotlib: pip install -e '.[evaluate]'\n", done.stderr
    assert not Path("report").exists()
