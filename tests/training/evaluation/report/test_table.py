import dataclasses

import pytest

from training.evaluation.answers import OutlierMetrics
from training.evaluation.evaluate import Evaluation
from training.evaluation.report.table import table

pytestmark = pytest.mark.processes


def test_the_table_has_a_row_for_each_kind(evaluation: Evaluation) -> None:
    lines = table(evaluation).splitlines()
    for kind in evaluation.kinds:
        (line,) = [line for line in lines if line.strip().startswith(f"{kind.name}  ")]
        share = kind.metrics.unsure if isinstance(kind.metrics, OutlierMetrics) else kind.metrics.accuracy
        assert f"{share:.2%}" in line
    assert max(map(len, lines)) <= 130


def test_the_name_of_a_data_set_is_not_markup(evaluation: Evaluation) -> None:
    kind = dataclasses.replace(evaluation.kinds[0], name="a$^$b [bold]\u6570\u5b57")
    assert "a$^$b [bold]\u6570\u5b57" in table(dataclasses.replace(evaluation, kinds=[kind]))
