"""The comparison as a table, in its three forms."""

import csv
import io

import pytest
from rich.console import Console

from moduli.evaluation.tables import (
    clearly_best,
    comparison_csv,
    comparison_markdown,
    comparison_table,
    decimals,
    interval_text,
    legend,
    number_text,
    p_text,
    seconds_text,
    task_rows,
    total_rows,
    write_tables,
)


def tiny(intervals, means=(0.9, 0.8, 0.7)):
    """Three methods on one task, compared as (soft, single), (hard, single), (hard, soft)."""
    names = ["soft", "single", "hard"]
    pairs = [("soft", "single"), ("hard", "single"), ("hard", "soft")]
    return {
        "name": "tiny",
        "tasks": [{"name": "t", "metric": "accuracy", "direction": "higher"}],
        "seeds": [0, 1],
        "baseline": "single",
        "methods": {
            name: {"tasks": {"t": {"mean": mean, "ci95": 0.01, "values": [mean, mean]}}}
            for name, mean in zip(names, means, strict=True)
        },
        "comparisons": [
            {"method": method, "other": other, "tasks": {"t": {"ci95": interval}}}
            for (method, other), interval in zip(pairs, intervals, strict=True)
        ],
    }


@pytest.mark.parametrize(
    ("intervals", "best"),
    [
        ([[0.1, 0.2], [-0.2, -0.1], [-0.3, -0.1]], "soft"),
        ([[0.1, 0.2], [-0.2, -0.1], [-0.3, 0.1]], None),  # not clearly better than hard
        ([[-0.2, -0.1], [-0.2, -0.1], [-0.3, 0.1]], "single"),
        ([[0.1, 0.2], [-0.2, -0.1], None], None),
    ],
)
def test_the_best_is_marked_only_where_it_beats_every_other_clearly(intervals, best):
    summary = tiny(intervals)
    assert clearly_best(summary, "t") == best
    assert [cell.best for cell in task_rows(summary)[0].cells] == [
        name == best for name in summary["methods"]
    ]


def test_a_method_without_results_does_not_stand_in_the_way():
    summary = tiny([[0.1, 0.2], None, None], means=(0.9, 0.8, None))
    assert clearly_best(summary, "t") == "soft"


def test_with_one_method_there_is_no_best_and_no_rank(make):
    summary = make(["heart"], ["soft"], [0, 1]).summary()
    assert clearly_best(summary, "heart") is None
    assert "mean rank" not in [row.label for row in total_rows(summary)]
    assert "best" not in legend(summary)


@pytest.mark.parametrize(
    ("results", "digits"),
    [
        ([{"mean": 0.84, "ci95": 0.012}], 3),
        ([{"mean": 0.84, "ci95": 0.05}], 2),
        ([{"mean": 1234.5, "ci95": 56.0}], 0),
        ([{"mean": 0.84, "ci95": 1e-9}], 4),
        ([{"mean": 0.8, "ci95": None}], 4),
        ([{"mean": 81.234, "ci95": None}], 2),
        ([{"mean": 0.0, "ci95": 0.0}, {}], 0),
    ],
)
def test_digits_follow_the_interval(results, digits):
    assert decimals(results) == digits


def test_numbers_as_text():
    assert number_text(-0.0001, 2, sign=True) == "+0.00"
    assert number_text(-1234.5, 1) == "−1,234.5"
    assert interval_text(0.8421, 0.0123, 3) == "0.842 ± 0.012"
    assert interval_text(0.8421, None, 3) == "0.842"
    assert interval_text(None, None, 3) == "–"
    assert [seconds_text(s) for s in (8.34, 250, 7500, 59.96, None)] == [
        "8.3 s",
        "4 min 10 s",
        "2 h 05 min",
        "60.0 s",
        "–",
    ]
    assert [p_text(p) for p in (None, 0.0004, 0.04)] == ["–", "< 0.001", "0.040"]


def test_missing_seeds_are_counted_and_nothing_is_a_dash():
    summary = tiny([None] * 3)
    summary["methods"]["soft"]["tasks"]["t"]["values"] = [0.9, None]
    summary["methods"]["hard"]["tasks"] = {}
    soft, single, hard = (cell.text for cell in task_rows(summary)[0].cells)
    assert (soft, single, hard) == ("0.900 ± 0.010 (1/2)", "0.800 ± 0.010", "–")


def test_terminal_table_fits_80_columns_with_four_methods(make):
    summary = make(["heart", "stay"], ["single", "hard", "permuted", "soft"], range(3)).summary()
    console = Console(width=80, file=io.StringIO(), legacy_windows=False)
    console.print(comparison_table(summary))
    text = console.file.getvalue()
    row = next(line for line in text.splitlines() if line.startswith(" heart"))
    assert row.count("±") == 4
    for word in ("soft", "Δm", "mean rank", "parameters", "baseline", "3 seeds"):
        assert word in text


def test_names_are_never_markup():
    summary = tiny([None] * 3)
    summary["tasks"][0]["name"] = "[red]|<b>*a*_b_"
    console = Console(width=120, file=io.StringIO())
    console.print(comparison_table(summary))
    assert "[red]|<b>*a*_b_" in console.file.getvalue()
    line = comparison_markdown(summary).splitlines()[2]
    assert line.startswith(r"| \[red\]\|&lt;b>\*a\*\_b\_ | accuracy ↑ |")


def test_markdown_has_a_row_per_task_and_marks_the_best():
    lines = comparison_markdown(tiny([[0.1, 0.2], [-0.2, -0.1], [-0.3, -0.1]])).splitlines()
    assert lines[0] == "| task | metric | soft | single | hard |"
    assert lines[2] == "| t | accuracy ↑ | **0.900 ± 0.010** | 0.800 ± 0.010 | 0.700 ± 0.010 |"


def test_csv_holds_every_number_in_full(maker):
    summary = maker.summary()
    rows = list(csv.DictReader(io.StringIO(comparison_csv(summary))))
    assert len(rows) == (4 + 4) * 3
    for row in rows[: 4 * 3]:
        result = summary["methods"][row["method"]]["tasks"][row["task"]]
        assert [float(row[f"seed {seed}"]) for seed in range(3)] == result["values"]
        assert float(row["mean"]) == result["mean"]
    gain = next(row for row in rows if row["metric"] == "delta_m" and row["method"] == "soft")
    assert float(gain["mean"]) == summary["methods"]["soft"]["delta_m"]
    assert float(gain["seed 1"]) == summary["methods"]["soft"]["delta_m_values"][1]


def test_written_as_files(maker, tmp_path):
    summary = maker.summary()
    paths = write_tables(tmp_path, summary)
    assert [path.name for path in paths] == ["comparison.md", "comparison.csv"]
    assert paths[0].read_text(encoding="utf-8") == comparison_markdown(summary)
