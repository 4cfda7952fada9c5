"""What was logged, and the curves drawn from it."""

import json

import pytest

from moduli.report.curves import Panel, curve_over_seeds, learning_curves, task_curves
from moduli.report.records import read_records


def write(path, lines):
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return read_records(path)


def line(seed, step, task, loss, **more):
    return {"method": "soft", "seed": seed, "step": step, "split": "val", "task": task, "loss": loss, **more}


def test_mean_over_tasks_then_over_seeds_with_the_range_of_seeds(tmp_path):
    records = write(
        tmp_path / "m.jsonl",
        [line(0, 10, "a", 1.0), line(0, 10, "b", 3.0), line(1, 10, "a", 2.0), line(1, 10, "b", 6.0)],
    )
    curve = curve_over_seeds(records, "soft", Panel("", "loss", ["a", "b"]))
    assert curve.loc[10].tolist() == [3.0, 2.0, 4.0]


def test_a_run_that_stopped_keeps_its_last_value(tmp_path):
    records = write(tmp_path / "m.jsonl", [line(0, 1, "a", 4.0), line(1, 1, "a", 2.0), line(1, 2, "a", 1.0)])
    assert curve_over_seeds(records, "soft", Panel("", "loss", ["a"]))["mean"].tolist() == [3.0, 2.5]


def test_train_and_other_methods_stay_out_and_nulls_are_gaps(tmp_path):
    records = write(
        tmp_path / "m.jsonl",
        [
            line(0, 1, "a", 4.0),
            line(0, 2, "a", None),
            line(0, 3, "a", 2.0),
            {**line(0, 1, "a", 99.0), "split": "train"},
            {**line(0, 1, "a", 99.0), "method": "hard"},
        ],
    )
    assert curve_over_seeds(records, "soft", Panel("", "loss", ["a"]))["mean"].tolist() == [4.0, 4.0, 2.0]
    assert curve_over_seeds(records, "soft", Panel("", "f1", ["a"])).empty
    assert curve_over_seeds(records, "soft", Panel("", "loss", ["z"])).empty


def test_a_line_written_twice_counts_once_and_half_a_line_is_skipped(tmp_path):
    records = write(
        tmp_path / "m.jsonl", [line(0, 1, "a", 4.0), line(0, 1, "a", 3.0), "[1]\n", '{"method": "so']
    )
    assert records.curves["loss"].tolist() == [3.0]
    assert records.skipped == 2


def test_no_file_no_records(tmp_path):
    records = read_records(tmp_path / "absent.jsonl")
    assert records.curves.empty
    assert (records.scales, records.skipped) == ([], 0)


def test_records_of_scales_are_kept_apart(maker, tmp_path):
    records = read_records(maker.write(tmp_path / "run") / "metrics.jsonl")
    assert len(records.scales) == 6 * 3
    assert "scales" not in records.curves
    assert set(records.curves["split"]) == {"train", "val"}


def test_overall_curves_have_the_loss_and_the_metrics_without_a_unit(maker, tmp_path):
    records = read_records(maker.write(tmp_path / "run") / "metrics.jsonl")
    figure = learning_curves(maker.summary(), records)
    titles = [text.get_text() for text in figure.texts]
    assert "loss ↓  (mean of 4 tasks)" in titles
    assert "accuracy ↑  (mean of 3 tasks)" in titles
    assert len(figure.axes) == 2
    assert len(figure.axes[0].get_lines()) == 3


@pytest.mark.parametrize("quantity", ["loss", "metric"])
def test_small_multiples_have_one_set_of_axes_per_task(maker, tmp_path, quantity):
    records = read_records(maker.write(tmp_path / "run") / "metrics.jsonl")
    assert len(task_curves(maker.summary(), records, quantity).axes) == 4


def test_one_task_is_drawn_once(make, tmp_path):
    made = make(["a", "b"][1:], ["soft"], [0])
    records = read_records(made.write(tmp_path / "run") / "metrics.jsonl")
    assert task_curves(made.summary(), records) is None
    assert len(learning_curves(made.summary(), records).axes) == 2


def test_nothing_logged_no_figure(maker, tmp_path):
    records = read_records(tmp_path / "absent.jsonl")
    assert learning_curves(maker.summary(), records) is None
    assert task_curves(maker.summary(), records) is None


def test_a_start_that_towers_above_the_rest_gives_a_logarithmic_axis(make, tmp_path):
    made = make(["a"], ["soft"], [0], steps=30)
    for number, record in enumerate(record for record in made.records if "loss" in record):
        record["loss"] = 1e6 if number < 4 else 1.0
    records = read_records(made.write(tmp_path / "run") / "metrics.jsonl")
    assert learning_curves(made.summary(), records).axes[0].get_yscale() == "log"
