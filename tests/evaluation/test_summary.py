"""summary.json: what is in it, what is missing in it, and what is refused."""

import json
import math

import pytest

from moduli.errors import InputError, SaveError
from moduli.evaluation.summary import Outcome, read_summary, summarize, write_summary
from moduli.types import Scores

NAN = float("nan")
TASKS = [
    {"name": "a", "kind": "binary", "metric": "accuracy", "direction": "higher", "samples": {"train": 9}},
    {"name": "b", "kind": "regression", "metric": "rmse", "direction": "lower", "samples": {"train": 9}},
]


def scores(split, a, b):
    metrics = {"a": {"accuracy": a, "auroc": 0.9}, "b": {"rmse": b}}
    primary, better = {"a": "accuracy", "b": "rmse"}, {"a": True, "b": False}
    return Scores(split, {"a": 1.0 - a, "b": b}, metrics, primary, better)


def outcome(method, seed, a, b, **changes):
    fields = {"parameters": 100, "seconds": 2.0 + seed, "steps": 10, "extra": {}} | changes
    return Outcome(method, seed, test=scores("test", a, b), val=scores("val", a, b), **fields)


def complete():
    return [
        outcome("single", 0, 0.5, 10.0),
        outcome("single", 1, 0.5, 10.0),
        outcome("soft", 0, 0.6, 9.0, parameters=50, extra={"scales": {"a": [[0.5, 0.5]]}}),
        outcome("soft", 1, 0.6, 9.0, parameters=50),
    ]


def test_values_means_and_gain_by_hand():
    summary = summarize("test", TASKS, complete(), versions={"torch": "2"}, device="cpu")
    assert {key: summary[key] for key in ("schema", "name", "seeds", "baseline", "versions", "device")} == {
        "schema": 1,
        "name": "test",
        "seeds": [0, 1],
        "baseline": "single",
        "versions": {"torch": "2"},
        "device": "cpu",
    }
    assert summary["tasks"] == TASKS
    soft = summary["methods"]["soft"]
    assert (soft["parameters"], soft["seconds"], soft["steps"], soft["missing"]) == (50, 2.5, 10, 0)
    assert soft["tasks"]["a"]["values"] == [0.6, 0.6]
    assert soft["tasks"]["a"]["mean"] == pytest.approx(0.6)
    assert soft["tasks"]["a"]["ci95"] == pytest.approx(0.0, abs=1e-12)
    assert soft["tasks"]["a"]["metrics"] == {"accuracy": [0.6, 0.6], "auroc": [0.9, 0.9]}
    assert soft["tasks"]["b"]["loss"] == soft["tasks"]["b"]["val"]["loss"] == [9.0, 9.0]
    assert soft["delta_m"] == pytest.approx((20 + 10) / 2)
    assert soft["delta_m_values"] == pytest.approx([15.0, 15.0])
    assert soft["average_rank"] == 1.0
    assert soft["runs"][0]["extra"] == {"scales": {"a": [[0.5, 0.5]]}}
    assert summary["methods"]["single"]["delta_m"] == 0.0
    assert summary["methods"]["single"]["average_rank"] == 2.0


def test_a_comparison_is_signed_so_that_more_is_better():
    (comparison,) = summarize("test", TASKS, complete())["comparisons"]
    assert (comparison["method"], comparison["other"]) == ("soft", "single")
    assert comparison["difference"] == pytest.approx(15.0)
    assert comparison["tasks"]["b"]["difference"] == pytest.approx(1.0)
    assert comparison["tasks"]["b"]["percent"] == pytest.approx(10.0)
    assert [comparison[key] for key in ("pairs", "missing", "wins", "ties", "losses")] == [4, 0, 4, 0, 0]
    assert comparison["wilcoxon"]["p"] is comparison["wilcoxon"]["p_holm"] is None
    assert "fewer than 6" in comparison["wilcoxon"]["reason"]


def test_every_pair_is_compared_the_baseline_first_and_differences_add_up():
    outcomes = [
        outcome(method, seed, 0.5 + shift + 0.01 * seed, 10 - shift)
        for method, shift in (("x", 0.1), ("single", 0.0), ("y", 0.3))
        for seed in range(3)
    ]
    summary = summarize("test", TASKS, outcomes)
    pairs = {(c["method"], c["other"]): c["difference"] for c in summary["comparisons"]}
    assert list(pairs) == [("x", "single"), ("y", "single"), ("y", "x")]
    assert pairs["y", "x"] == pytest.approx(pairs["y", "single"] - pairs["x", "single"])
    for method in ("x", "y"):
        assert pairs[method, "single"] == pytest.approx(summary["methods"][method]["delta_m"])


def test_holm_corrects_over_the_pairs_of_methods():
    outcomes = [
        outcome(method, seed, 0.5 + shift + 0.003 * seed * (1 + shift), 10 - shift)
        for method, shift in (("single", 0.0), ("x", 0.1), ("y", 0.2))
        for seed in range(4)
    ]
    tests = [c["wilcoxon"] for c in summarize("test", TASKS, outcomes)["comparisons"]]
    assert min(t["p"] for t in tests) * 3 == pytest.approx(min(t["p_holm"] for t in tests))


def test_the_order_of_tasks_and_outcomes_changes_no_number():
    outcomes = [outcome(m, s, 0.5 + 0.1 * i + 0.02 * s, 9 - i) for i, m in enumerate("uvw") for s in range(3)]
    one = summarize("test", TASKS, outcomes, "u", methods=list("uvw"))
    two = summarize("test", TASKS[::-1], outcomes[::-1], "u", methods=list("uvw"))
    for method in "uvw":
        assert one["methods"][method]["delta_m"] == pytest.approx(two["methods"][method]["delta_m"])
        assert one["methods"][method]["average_rank"] == two["methods"][method]["average_rank"]
        assert one["methods"][method]["tasks"] == two["methods"][method]["tasks"]
    assert [c["ci95"] for c in one["comparisons"]] == [c["ci95"] for c in two["comparisons"]]


def test_failed_runs_and_undefined_metrics_are_null_and_counted():
    outcomes = [*complete()[:3], outcome("hard", 0, NAN, math.inf)]
    summary = summarize("test", TASKS, outcomes, methods=["single", "soft", "hard", "gone"], seeds=[0, 1])
    json.dumps(summary, allow_nan=False)
    soft, hard, gone = (summary["methods"][name] for name in ("soft", "hard", "gone"))
    assert soft["tasks"]["a"]["values"] == [0.6, None]
    assert soft["tasks"]["a"]["ci95"] is None
    assert (soft["missing"], hard["missing"], gone["missing"]) == (2, 4, 4)
    assert soft["delta_m"] == pytest.approx(15.0)
    assert soft["delta_m_values"] == [pytest.approx(15.0), None]
    for method in (hard, gone):
        assert method["delta_m"] is method["average_rank"] is method["tasks"]["b"]["mean"] is None
    assert gone["parameters"] is gone["seconds"] is None
    assert (soft["average_rank"], summary["methods"]["single"]["average_rank"]) == (1.0, 2.0)
    comparison = summary["comparisons"][0]
    assert (comparison["pairs"], comparison["missing"]) == (2, 2)
    assert summary["comparisons"][1]["difference"] is summary["comparisons"][1]["ci95"] is None


def test_one_method_one_seed():
    summary = summarize("test", TASKS, [outcome("soft", 3, 0.6, 9.0)])
    assert (summary["baseline"], summary["seeds"], summary["comparisons"]) == ("soft", [3], [])
    assert summary["methods"]["soft"]["tasks"]["a"]["ci95"] is None


def test_a_baseline_of_zero_is_left_out_and_named():
    outcomes = [outcome("single", 0, 0.0, 10.0), outcome("soft", 0, 0.6, 9.0)]
    soft = summarize("test", TASKS, outcomes)["methods"]["soft"]
    assert soft["delta_m_left_out"] == ["a"]
    assert soft["delta_m"] == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outcomes": []}, "no methods"),
        ({"tasks_info": []}, "no tasks"),
        ({"tasks_info": TASKS + TASKS[:1]}, "two tasks are called 'a'"),
        ({"tasks_info": [{**TASKS[0], "direction": "up"}]}, "direction 'up' is not higher or lower"),
        ({"tasks_info": [{"name": "a"}]}, "lacks kind, metric, direction, samples"),
        ({"outcomes": complete() + complete()[:1]}, "two outcomes of method 'single', seed 0"),
        ({"baseline": "sotf"}, "unknown baseline 'sotf', did you mean 'soft'?"),
        ({"seeds": [0]}, "seed 1, which was not to be run"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(change, message):
    with pytest.raises(InputError, match=r"^[^\n]*$") as error:
        summarize(**{"name": "test", "tasks_info": TASKS, "outcomes": complete(), **change})
    assert message in str(error.value)


def test_an_outcome_survives_json():
    saved = outcome("soft", 1, NAN, 9.0, extra={"routes": {"a": [1, 2]}})
    back = Outcome.from_json(json.loads(json.dumps(saved.to_json(), allow_nan=False)))
    assert math.isnan(back.test.metrics["a"]["accuracy"])
    assert math.isnan(back.test.loss["a"])
    assert back.val.metrics["b"] == saved.val.metrics["b"]
    assert (back.method, back.seed, back.extra, back.test.primary) == (
        "soft",
        1,
        saved.extra,
        saved.test.primary,
    )


@pytest.mark.parametrize(
    "damage", [lambda d: d.pop("seed"), lambda d: d.update(more=1), lambda d: d.update(test=3)]
)
def test_a_damaged_outcome_is_refused(damage):
    data = outcome("soft", 1, 0.5, 9.0).to_json()
    damage(data)
    with pytest.raises(InputError, match="not a saved outcome"):
        Outcome.from_json(data)


def test_written_and_read_back(tmp_path):
    summary = summarize("test <&> ü", TASKS, complete())
    write_summary(tmp_path / "summary.json", {**summary, "more": NAN})
    assert read_summary(tmp_path / "summary.json") == {**summary, "more": None}
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_summary(tmp_path / "summary.json", summarize("old", TASKS, complete()))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(SaveError, match="No space left"):
        write_summary(path, summarize("new", TASKS, complete()))
    assert read_summary(path)["name"] == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("{", "damaged or not JSON"),
        ("[1]", "not a summary of moduli"),
        ('{"a": 1}', "not a summary of moduli"),
        ('{"schema": 2}', "has schema 2, this version reads 1"),
        ('{"schema": 1, "name": "x"}', "lacks tasks, methods, seeds"),
    ],
)
def test_a_foreign_file_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "summary.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"^[^\n]*$") as error:
        read_summary(path)
    assert message in str(error.value)
