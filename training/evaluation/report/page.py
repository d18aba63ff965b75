"""The report of an evaluation as one HTML page that holds all its pictures and charts."""

import base64
import io
from datetime import UTC, datetime
from html import escape
from itertools import starmap

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import confusion_matrix

from training.evaluation.answers import Answers, DigitMetrics, Metrics, pooled
from training.evaluation.evaluate import GROUPS, HELD_OUT, OUTLIER_GROUP, EvaluatedKind, Evaluation
from training.evaluation.report import charts
from training.evaluation.report.table import cells

MISTAKES, WITHOUT_INK = 28, 4
"""The most mistakes that a group shows, and the most pictures in which no ink was found."""
THUMBNAIL = 112


def page(evaluation: Evaluation) -> str:
    """An HTML document that loads nothing."""
    # The held-out digits are left out of the curves, as the calibration was fitted to them.
    sets = {kind.name: kind.answers for kind in evaluation.group("data sets")}
    compared = dict([(name, answers) for name, answers in sets.items() if name != HELD_OUT][:2])
    if corrupted := evaluation.group("corrupted"):
        compared["corrupted"] = pooled([kind.answers for kind in corrupted])
    digit_groups = {
        group: {kind.name: kind.metrics for kind in evaluation.group(group) if isinstance(kind.metrics, DigitMetrics)}
        for group in GROUPS
        if group != OUTLIER_GROUP and evaluation.group(group)
    }
    sections = [
        f"<h1>Model {escape(evaluation.model)}</h1>",
        f'<p class="note">{_summary(evaluation)}</p>',
        _section("Accuracy by kind", charts.accuracies(digit_groups)),
        _section(
            "All metrics",
            _table(evaluation),
            "Coverage is the share answered with verdict <i>digit</i>. The calibration error is the mean gap between "
            "confidence and accuracy over 15 bins of equal mass. AUROC is that of confidence as a detector of correct "
            "answers. NLL is the negative log-likelihood in nats. Outliers should be <i>unsure</i>, or have nothing "
            "drawn.",
        ),
        _section(
            "Reliability",
            charts.reliability(compared),
            "The accuracy of answers should equal their confidence. Bars are 95 % intervals; numbers are the answers "
            "in each bin.",
        ),
        '<div class="pair">',
        _section(
            "Risk against coverage",
            charts.risk_coverage(compared),
            "The error rate that remains when the least confident answers are withheld.",
        ),
        *(_section(f"Confusion matrix, {escape(name)}", _confusion(answers)) for name, answers in [*sets.items()][:1]),
        "</div>",
        *(_mistakes(evaluation, group) for group in GROUPS),
    ]
    return _PAGE.replace("TITLE", f"Evaluation of {escape(evaluation.model)}").replace("BODY", "\n".join(sections))


def _summary(evaluation: Evaluation) -> str:
    pictures = sum(kind.metrics.pictures for kind in evaluation.kinds)
    date = datetime.now(UTC).strftime("%d %B %Y")
    return (
        f"{pictures:,} pictures of {len(evaluation.kinds)} kinds, seed {evaluation.seed}, {date}. "
        "Each was decoded, normalised and predicted as a client's picture is."
    )


def _section(title: str, content: str, note: str = "") -> str:
    return f"<section><h2>{title}</h2>{f'<p class=note>{note}</p>' if note else ''}{content}</section>"


def _table(evaluation: Evaluation) -> str:
    whole = evaluation.pooled()
    rows = []
    for group in GROUPS:
        kinds = evaluation.group(group)
        if kinds:
            headings = "".join(f"<th>{heading}</th>" for heading in cells(kinds[0].metrics))
            rows.append(f"<tr class=head><th>{group}</th>{headings}</tr>")
        rows += [_row(escape(kind.name), kind.metrics) for kind in kinds]
        if group in whole:
            rows.append(_row("pooled", whole[group], "whole"))
    return f"<table class=metrics>{''.join(rows)}</table>"


def _row(name: str, found: Metrics, style: str = "") -> str:
    return f"<tr class='{style}'><td>{name}</td>{''.join(f'<td>{cell}</td>' for cell in cells(found).values())}</tr>"


def _confusion(answers: Answers) -> str:
    matrix = confusion_matrix(answers.labels[answers.has_ink], answers.digits[answers.has_ink], labels=range(10))
    most = max(1, int((matrix - np.diag(np.diag(matrix))).max()))
    header = "".join(f"<th>{digit}</th>" for digit in range(10))
    rows = []
    for label, counts in enumerate(matrix.tolist()):
        texts = []
        for digit, count in enumerate(counts):
            opacity = 0.15 * (count > 0) + 0.65 * count / most
            colour = "#ebf4ff" if label == digit else f"rgba(197,48,48,{opacity:.2f})"
            texts.append(f'<td style="background:{colour}">{count or ""}</td>')
        rows.append(f"<tr><th>{label}</th>{''.join(texts)}</tr>")
    corner = "<th class=corner>label \\ answer</th>"
    return f"<table class=confusion><tr>{corner}{header}</tr>{''.join(rows)}</table>"


def _mistakes(evaluation: Evaluation, group: str) -> str:
    """The most confident mistakes of a group, and a few pictures in which no ink was found."""
    mistakes = [
        (kind, index)
        for kind in evaluation.group(group)
        for index in np.flatnonzero(kind.answers.answered if group == OUTLIER_GROUP else ~kind.answers.correct)
    ]
    with_ink = [(kind, index) for kind, index in mistakes if kind.answers.has_ink[index]]
    with_ink.sort(key=lambda mistake: -mistake[0].answers.confidences[mistake[1]])
    without_ink = [(kind, index) for kind, index in mistakes if not kind.answers.has_ink[index]]
    shown = with_ink[:MISTAKES] + without_ink[:WITHOUT_INK]
    if not shown:
        return ""
    title = "Outliers answered as digits" if group == OUTLIER_GROUP else f"Mistakes, {group}"
    note = f"{len(mistakes):,} in all, the most confident first: on the left the picture, on the right its tile."
    return _section(title, f"<div class=tiles>{''.join(starmap(_shown, shown))}</div>", note)


def _shown(kind: EvaluatedKind, index: int) -> str:
    answers, sample = kind.answers, kind.samples[index]
    with Image.open(io.BytesIO(sample.read())) as image:
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        picture = _image(np.asarray(image.convert("RGB")))
    label = "no digit" if kind.group == OUTLIER_GROUP else f"a {answers.labels[index]}"
    if answers.has_ink[index]:
        tile = _image(answers.tiles[index])
        caption = f"{label}, answered <b>{answers.digits[index]}</b><br>{answers.confidences[index]:.1%}"
        caption += "" if answers.answered[index] else ", unsure"
    else:
        tile, caption = "", f"{label}<br>nothing drawn"
    name = escape(sample.name)
    return f'<figure title="{name}"><div>{picture}{tile}</div><figcaption>{caption}</figcaption></figure>'


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
.metrics { width: 100% } .metrics td, .metrics th { text-align: right; padding: 2px 7px; vertical-align: bottom }
.metrics td { white-space: nowrap }
.metrics td:first-child, .metrics th:first-child { text-align: left }
.metrics th { font-weight: 600; color: #718096; border-bottom: 1px solid #e2e8f0; padding-top: 14px }
.metrics th:first-child { color: #2d3748 } .metrics tr:first-child th { padding-top: 0 }
.metrics tr.whole td { border-top: 1px solid #e2e8f0; color: #4a5568 }
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
