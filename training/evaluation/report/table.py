"""Metrics as text, for the table on the terminal and the one on the page."""

from collections.abc import Sequence
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from training.evaluation import comparison
from training.evaluation.answers import Metrics, OutlierMetrics
from training.evaluation.comparison import ComparedKind
from training.evaluation.evaluate import GROUPS, Evaluation
from training.mcnemar import Comparison

COLUMNS = (
    *("pictures", "accuracy", "95 % interval", "coverage", "unsure", "nothing drawn"),
    *("calibration error", "AUROC", "NLL"),
)


def cells(metrics: Metrics) -> dict[str, str]:
    """A text for each column heading."""
    pictures, nothing_drawn = f"{metrics.pictures:,}", str(metrics.nothing_drawn or "")
    if isinstance(metrics, OutlierMetrics):
        return {
            "pictures": pictures,
            "unsure": f"{metrics.unsure:.2%}",
            "95 % interval": _interval(metrics.unsure_interval),
            "nothing drawn": nothing_drawn,
        }
    return {
        "pictures": pictures,
        "accuracy": f"{metrics.accuracy:.2%}",
        "95 % interval": _interval(metrics.accuracy_interval),
        "coverage": f"{metrics.coverage:.2%}",
        "nothing drawn": nothing_drawn,
        "calibration error": f"{metrics.calibration_error:.2%}",
        "AUROC": "" if metrics.auroc is None else f"{metrics.auroc:.4f}",
        "NLL": f"{metrics.negative_log_likelihood:.4f}",
        "uncalibrated NLL": f"{metrics.uncalibrated_negative_log_likelihood:.4f}",
    }


def table(evaluation: Evaluation) -> str:
    """One row for each kind, and one for each generated group as a whole."""
    rows = _table(f"model {evaluation.model}, seed {evaluation.seed}", COLUMNS)
    pooled = evaluation.pooled()
    for group in GROUPS:
        for kind in evaluation.group(group):
            rows.add_row(Text(kind.name), *_row(kind.metrics))
        if group in pooled:
            rows.add_row(f"{group}, pooled", *_row(pooled[group]), style="bold", end_section=True)
    return _text(rows)


def comparison_table(model: str, kinds: Sequence[ComparedKind]) -> str:
    """One row for each kind, and one for all digits together."""
    columns = ("pictures", "right by weights", "compiled", "lost", "won", "answered by weights", "compiled")
    rows = _table(f"model {model}, compiled against its weights", columns)
    for kind in kinds:
        rows.add_row(
            Text(kind.name), f"{kind.pictures:,}", *_counts(kind.right), *(f"{one:.2%}" for one in kind.answered)
        )
    whole = comparison.pooled(kinds)
    rows.add_row("all digits", f"{whole.images:,}", *_counts(whole), style="bold")
    points = 100 * (whole.before - whole.after) / whole.images
    return f"{_text(rows)}\n\nall digits: {points:.3f} points lost, p = {whole.p_worse:.2f} (exact McNemar, one-sided)"


def _table(title: str, headings: Sequence[str]) -> Table:
    found = Table(title=title, title_justify="left", box=None)
    found.add_column("", no_wrap=True)
    for heading in headings:
        found.add_column("\n".join(heading.rsplit(" ", 1)), justify="right", no_wrap=True)
    return found


def _text(rows: Table) -> str:
    output = StringIO()
    Console(file=output, width=130).print(rows)
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines())


def _counts(found: Comparison | None) -> list[str]:
    return [f"{count:,}" for count in (found.before, found.after, found.lost, found.won)] if found else [""] * 4


def _row(metrics: Metrics) -> list[str]:
    texts = cells(metrics)
    return [texts.get(heading, "") for heading in COLUMNS]


def _interval(bounds: tuple[float, float]) -> str:
    return f"{100 * bounds[0]:.2f} to {100 * bounds[1]:.2f}"
