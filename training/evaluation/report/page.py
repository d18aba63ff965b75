"""One HTML page about an evaluation, with all pictures and charts inside it."""

import base64
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.evaluation import metrics
from training.evaluation.answers import Answers, Figures, Refusals, pooled
from training.evaluation.evaluate import GROUPS, HELD_OUT, OUTLIERS, Evaluation, Kind
from training.evaluation.report import charts

MISTAKES, UNREAD = 28, 4
THUMBNAIL = 112


def page(evaluation: Evaluation) -> str:
    """The report as one HTML document that loads nothing. Raises InklingError where Matplotlib is missing."""
    # The first data set gets the large confusion matrix; the curves compare it with the next and with damage, but not
    # with the held-out digits: confidence was fitted to them.
    sets = {kind.name: kind.answers for kind in evaluation.group("data sets")}
    compared = dict([(name, answers) for name, answers in sets.items() if name != HELD_OUT][:2])
    if damaged := evaluation.group("damaged"):
        compared["damaged"] = pooled([kind.answers for kind in damaged])
    shares = {
        group: {kind.name: kind.figures for kind in evaluation.group(group) if isinstance(kind.figures, Figures)}
        for group in GROUPS
        if group != OUTLIERS and evaluation.group(group)
    }
    parts = [
        f"<h1>Model {escape(evaluation.model)}</h1>",
        f'<p class="note">{_summary(evaluation)}</p>',
        _section("Right answers, by kind", charts.accuracies(shares)),
        _section("All figures", _table(evaluation)),
        _section(
            "Confidence",
            charts.reliability(compared),
            "Of answers given with confidence 0.9, nine in ten ought to be right. Bars are 95 % intervals, "
            "numbers count the answers in each bin.",
        ),
        '<div class="pair">',
        _section(
            "Risk against coverage",
            charts.risk_coverage(compared),
            "Errors that remain when the least confident answers are held back.",
        ),
        *(_section(f"Confusion, {escape(name)}", _confusion(answers)) for name, answers in list(sets.items())[:1]),
        "</div>",
        *(_mistakes(evaluation, group) for group in GROUPS if evaluation.group(group)),
    ]
    return _PAGE.replace("TITLE", f"Evaluation of {escape(evaluation.model)}").replace("BODY", "\n".join(parts))


def _summary(evaluation: Evaluation) -> str:
    pictures = sum(kind.figures.pictures for kind in evaluation.kinds)
    when = datetime.now(UTC).strftime("%d %B %Y")
    return (
        f"{pictures:,} pictures of {len(evaluation.kinds)} kinds, seed {evaluation.seed}, {when}. "
        "Each went the whole way of a client's picture: its bytes were decoded, normalised and predicted."
    )


def _section(title: str, content: str, note: str = "") -> str:
    return f"<section><h2>{title}</h2>{f'<p class=note>{note}</p>' if note else ''}{content}</section>"


def _table(evaluation: Evaluation) -> str:
    whole = evaluation.pooled()
    rows = []
    for group in GROUPS:
        kinds = evaluation.group(group)
        if not kinds:
            continue
        headings = ["unsure", "95 % interval", "nothing found"]
        if group != OUTLIERS:
            headings = ["right", *headings[1:], "kept", "calibration", "AUROC", "NLL", "uncalibrated"]
        cells = "".join(f"<th>{heading}</th>" for heading in ["pictures", *headings])
        rows.append(f"<tr class=head><th>{group}</th>{cells}</tr>")
        rows += [_row(escape(kind.name), kind.figures) for kind in kinds]
        if group in whole:
            rows.append(_row("together", whole[group], "whole"))
    return f"<table class=figures>{''.join(rows)}</table>"


def _row(name: str, worth: Figures | Refusals, kind: str = "") -> str:
    share, interval = (
        (worth.unsure, worth.unsure_interval)
        if isinstance(worth, Refusals)
        else (worth.accuracy, worth.accuracy_interval)
    )
    cells = [f"{worth.pictures:,}", f"<b>{share:.2%}</b>", f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f}"]
    cells.append(str(worth.nothing_drawn or ""))
    if not isinstance(worth, Refusals):
        area = "" if worth.auroc is None else f"{worth.auroc:.4f}"
        cells += [f"{worth.kept:.2%}", f"{worth.calibration_error:.2%}", area]
        cells += [f"{worth.negative_log_likelihood:.4f}", f"{worth.uncalibrated:.4f}"]
    return f"<tr class='{kind}'><td>{name}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _confusion(answers: Answers) -> str:
    matrix = metrics.confusion(answers.labels[answers.drawn], answers.digits[answers.drawn])
    wrong = max(1, int((matrix - np.diag(np.diag(matrix))).max()))
    header = "".join(f"<th>{digit}</th>" for digit in range(10))
    rows = []
    for label in range(10):
        cells = []
        for digit in range(10):
            count = int(matrix[label, digit])
            strength = 0.0 if label == digit else 0.15 * (count > 0) + 0.65 * count / wrong
            colour = "#ebf4ff" if label == digit else f"rgba(197,48,48,{strength:.2f})"
            cells.append(f'<td style="background:{colour}">{count or ""}</td>')
        rows.append(f"<tr><th>{label}</th>{''.join(cells)}</tr>")
    corner = "<th class=corner>label \\ answer</th>"
    return f"<table class=confusion><tr>{corner}{header}</tr>{''.join(rows)}</table>"


def _mistakes(evaluation: Evaluation, group: str) -> str:
    """The most confident mistakes of a group, and a few pictures in which nothing was found."""
    kinds = evaluation.group(group)
    found = [
        (float(kind.answers.confidences[index]), kind, int(index))
        for kind in kinds
        for index in np.flatnonzero(kind.answers.kept if group == OUTLIERS else ~kind.answers.right)
    ]
    wrong = [mistake for mistake in found if mistake[1].answers.drawn[mistake[2]]]
    unread = [mistake for mistake in found if not mistake[1].answers.drawn[mistake[2]]]
    wrong.sort(key=lambda mistake: -mistake[0])
    shown = wrong[:MISTAKES] + unread[:UNREAD]
    if not shown:
        return ""
    title = "Taken for digits" if group == OUTLIERS else f"Worst mistakes, {group}"
    note = f"{len(found):,} in all; the most confident first. On the left what was sent, on the right what was read."
    return _section(title, f"<div class=tiles>{''.join(_tiles(shown))}</div>", note)


def _tiles(shown: list[tuple[float, Kind, int]]) -> Iterator[str]:
    for confidence, kind, index in shown:
        answers, sample = kind.answers, kind.samples[index]
        with Image.open(io.BytesIO(sample.read())) as image:
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            sent = _image(np.asarray(image.convert("RGB")))
        truth = "no digit" if kind.group == OUTLIERS else f"a {answers.labels[index]}"
        if answers.drawn[index]:
            read = _image(answers.tiles[index])
            said = f"{truth}, read as <b>{answers.digits[index]}</b><br>{confidence:.1%}"
            said += "" if answers.kept[index] else ", unsure"
        else:
            read, said = "", f"{truth}<br>nothing found"
        yield f'<figure title="{escape(sample.name)}"><div>{sent}{read}</div><figcaption>{said}</figcaption></figure>'


def _image(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>TITLE</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #2d3748; background: #f7fafc; margin: 0 auto; max-width: 1040px;
  padding: 24px 16px; font-variant-numeric: tabular-nums }
h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 17px; margin: 0 0 8px }
.note { color: #718096; margin: 0 0 10px }
section { background: #fff; border: 1px solid #e2e8f0; border-radius: 8px; padding: 16px 20px; margin: 16px 0;
  overflow-x: auto }
section > svg { max-width: 100%; height: auto; display: block }
svg text { font-family: system-ui, sans-serif !important }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 16px } .pair section { margin: 0 }
@media (max-width: 800px) { .pair { grid-template-columns: 1fr } section > svg { max-width: none } }
table { border-collapse: collapse; font-size: 13px }
.figures { width: 100% } .figures td, .figures th { text-align: right; padding: 2px 7px; white-space: nowrap }
.figures td:first-child, .figures th:first-child { text-align: left }
.figures th { font-weight: 600; color: #718096; border-bottom: 1px solid #e2e8f0; padding-top: 14px }
.figures th:first-child { color: #2d3748 } .figures tr:first-child th { padding-top: 0 }
.figures tr.whole td { border-top: 1px solid #e2e8f0; color: #4a5568 }
.confusion { width: 100%; table-layout: fixed; text-align: center }
.confusion td { height: 26px; border: 1px solid #fff }
.confusion th { font-weight: 600; color: #718096 } .confusion .corner { font-size: 10px; font-weight: 400 }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(134px, 1fr)); gap: 12px 8px }
figure { margin: 0 } figure div { display: flex; gap: 4px; height: 62px }
figure img { height: 60px; max-width: 66px; object-fit: contain; border: 1px solid #e2e8f0; background: #edf2f7;
  image-rendering: pixelated }
figcaption { font-size: 12px; line-height: 1.3; color: #4a5568 }
</style></head>
<body>
BODY
</body></html>
"""
