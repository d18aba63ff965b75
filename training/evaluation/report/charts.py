"""The charts of the report, drawn by Matplotlib as SVG to be put into a page."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import InklingError
from training.evaluation import metrics
from training.evaluation.answers import Answers, Figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b7791f")
INK, PALE = "#2d3748", "#cbd5e0"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "inkling",
    "text.parse_math": False,  # a data set may be called anything
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


def require() -> None:
    """Raises InklingError where Matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InklingError("the report needs Matplotlib: pip install -e '.[evaluate]'") from None


def reliability(sets: dict[str, Answers]) -> str:
    """For each set, the share right over the confidence stated, in ten bins with 95 % intervals and counts."""
    with _figure(9.6, 3.5) as (figure, output):
        axes: Sequence[Axes] = figure.subplots(1, len(sets), sharey=True, squeeze=False)[0]
        for ax, (name, answers), colour in zip(axes, sets.items(), COLOURS, strict=False):
            ax.plot([0, 1], [0, 1], color=PALE, linewidth=1.5, zorder=1)
            bins = np.minimum((answers.confidences * 10).astype(int), 9)
            for number in np.unique(bins):
                chosen = bins == number
                right, count = int(answers.right[chosen].sum()), int(chosen.sum())
                low, high = metrics.wilson(right, count)
                x = float(answers.confidences[chosen].mean())
                ax.plot([x, x], [low, high], color=colour, alpha=0.45, linewidth=3, solid_capstyle="round", zorder=2)
                ax.plot(x, right / count, "o", color=colour, markersize=6, zorder=3)
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
            ax.set(title=name, xlabel="confidence stated", xlim=(0, 1.04), ylim=(-0.02, 1.04))
        axes[0].set_ylabel("share right")
    return output.getvalue()


def risk_coverage(sets: dict[str, Answers]) -> str:
    """The share of errors among the answers given, as the least confident are held back."""
    with _figure(4.6, 3.5) as (figure, output):
        ax = figure.subplots()
        lowest = 1.0
        for (name, answers), colour in zip(sets.items(), COLOURS, strict=False):
            coverage, risk = metrics.risk_coverage(answers.confidences, answers.right)
            some = risk > 0
            lowest = min(lowest, float(risk[some].min(initial=lowest)))
            ax.plot(coverage[some], risk[some], color=colour, linewidth=1.8, label=name)
        ax.set(xlabel="share of pictures answered", ylabel="share of errors among them", yscale="log")
        ax.set(xlim=(0, 1.02), ylim=(lowest / 2, 1))
        ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        ax.legend(loc="upper left", fontsize=9)
    return output.getvalue()


def accuracies(groups: dict[str, dict[str, Figures]]) -> str:
    """For each group and kind in it, the accuracy and its 95 % interval, one below the other."""
    rows = sum(len(kinds) + 1 for kinds in groups.values())
    with _figure(9.6, 0.8 + 0.21 * rows) as (figure, output):
        ax = figure.subplots()
        row, labels = 0, {}
        for (group, kinds), colour in zip(groups.items(), COLOURS, strict=False):
            for name, worth in kinds.items():
                low, high = worth.accuracy_interval
                ax.plot([low, high], [row, row], color=colour, alpha=0.4, linewidth=4, clip_on=False)
                ax.plot(worth.accuracy, row, "o", color=colour, markersize=5.5, clip_on=False)
                labels[row] = name
                row += 1
            ax.annotate(group, (1, row - len(kinds)), (14, 0), textcoords="offset points", color=colour, va="center")
            row += 1
        ax.set(yticks=list(labels), yticklabels=list(labels.values()), ylim=(row - 0.8, -0.8), xlabel="right")
        ax.set_xlim(right=1)
        ax.tick_params(axis="y", length=0)
        ax.grid(visible=False, axis="y")
        ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    return output.getvalue()


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, io.StringIO]]:
    """A figure in the style of the report; on leaving, its SVG element is in the output."""
    require()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    output, svg = io.StringIO(), io.StringIO()
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # measured without it, and drawn by the reader's own fonts
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, output
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = svg.getvalue()
    output.write(text[text.index("<svg") :])
