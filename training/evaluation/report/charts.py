"""Charts of the report as SVG elements, drawn by Matplotlib."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.evaluation import metrics
from training.evaluation.answers import Answers, DigitMetrics

COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b7791f")
INK, PALE = "#2d3748", "#cbd5e0"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "inkling",
    "text.parse_math": False,  # the name of a data set may contain a dollar sign
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#edf2f7",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def reliability(sets: dict[str, Answers]) -> str:
    """A reliability diagram of each data set: accuracy over confidence in ten bins, with 95 % intervals and counts."""
    with _figure(9.6, 3.5) as (figure, output):
        axes: Sequence[Axes] = figure.subplots(1, len(sets), sharey=True, squeeze=False)[0]
        for ax, (name, answers), colour in zip(axes, sets.items(), COLOURS, strict=False):
            ax.plot([0, 1], [0, 1], color=PALE, linewidth=1.5, zorder=1)
            bins = np.minimum((answers.confidences * 10).astype(int), 9)
            for number in np.unique(bins):
                chosen = bins == number
                correct, count = int(answers.correct[chosen].sum()), int(chosen.sum())
                low, high = metrics.wilson_interval(correct, count)
                x = float(answers.confidences[chosen].mean())
                ax.plot([x, x], [low, high], color=colour, alpha=0.45, linewidth=3, solid_capstyle="round", zorder=2)
                ax.plot(x, correct / count, "o", color=colour, markersize=6, zorder=3)
                below = high > 0.86
                ax.annotate(
                    f"{count:,}",
                    (x, low if below else high),
                    (0, -6 if below else 5),
                    textcoords="offset points",
                    ha="right" if number == 9 else "center",
                    va="top" if below else "bottom",
                    fontsize=8,
                    color=INK,
                )
            ax.set(title=name, xlabel="confidence", xlim=(0, 1.04), ylim=(-0.02, 1.04))
        axes[0].set_ylabel("accuracy")
    return output.getvalue()


def risk_coverage(sets: dict[str, Answers]) -> str:
    """The error rate among the most confident answers of each data set, over the share of pictures answered."""
    with _figure(4.6, 3.5) as (figure, output):
        ax = figure.subplots()
        lowest = 1.0
        for (name, answers), colour in zip(sets.items(), COLOURS, strict=False):
            coverage, risk = metrics.risk_coverage(answers.confidences, answers.correct)
            positive = risk > 0
            lowest = min(lowest, float(risk[positive].min(initial=lowest)))
            ax.plot(coverage[positive], risk[positive], color=colour, linewidth=1.8, label=name)
        ax.set(xlabel="coverage", ylabel="risk (error rate)", yscale="log", xlim=(0, 1.02), ylim=(lowest / 2, 1))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        ax.legend(loc="upper left", fontsize=9)
    return output.getvalue()


def accuracies(groups: dict[str, dict[str, DigitMetrics]]) -> str:
    """The accuracy of each kind with its 95 % interval, by group, one below the other."""
    rows = sum(len(kinds) + 1 for kinds in groups.values())
    with _figure(9.6, 0.8 + 0.21 * rows) as (figure, output):
        ax = figure.subplots()
        row, labels = 0, {}
        for (group, kinds), colour in zip(groups.items(), COLOURS, strict=False):
            for name, found in kinds.items():
                ax.plot(found.accuracy_interval, [row, row], color=colour, alpha=0.4, linewidth=4, clip_on=False)
                ax.plot(found.accuracy, row, "o", color=colour, markersize=5.5, clip_on=False)
                labels[row] = name
                row += 1
            ax.annotate(group, (1, row - len(kinds)), (14, 0), textcoords="offset points", color=colour, va="center")
            row += 1
        ax.set(yticks=list(labels), yticklabels=list(labels.values()), ylim=(row - 0.8, -0.8), xlabel="accuracy")
        ax.set_xlim(right=1)
        ax.tick_params(axis="y", length=0)
        ax.grid(visible=False, axis="y")
        ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    return output.getvalue()


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, io.StringIO]]:
    """A figure in the style of the report, and a stream that holds its SVG element on leaving."""
    output, svg = io.StringIO(), io.StringIO()
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the reader's fonts may have it
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, output
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = svg.getvalue()
    output.write(text[text.index("<svg") :])
