"""What a user sees while training, and when."""

from __future__ import annotations

import re

import pytest
from synthetic import tiny_model, tiny_tasks

from moduli import Bar, Silent, fit


class Recorder:
    def __init__(self, wants=True):
        self.wants, self.calls = wants, []

    def start(self, title, step, steps):
        self.calls.append(("start", title, step, steps))

    def wants_losses(self):
        return self.wants

    def update(self, step, losses):
        self.calls.append((step, list(losses)))

    def stop(self):
        self.calls.append("stop")


def run(progress, **options):
    tasks = tiny_tasks()
    return fit(tiny_model(tasks), tasks, steps=3, phase=2, device="cpu", progress=progress, **options)


def test_progress_is_told_of_every_step_that_it_wants():
    recorder = Recorder()
    run(recorder)
    names = ["a", "b", "c"]
    assert recorder.calls == [("start", "training", 0, 3), (1, names), (2, names), (3, names), "stop"]
    recorder = Recorder(wants=False)
    run(recorder)
    assert recorder.calls == [("start", "training", 0, 3), "stop"]


def test_progress_goes_on_after_a_resume(tmp_path):
    run(Silent(), folder=tmp_path)
    recorder = Recorder()
    tasks = tiny_tasks()
    fit(tiny_model(tasks), tasks, steps=5, phase=2, device="cpu", progress=recorder, folder=tmp_path)
    assert recorder.calls[0] == ("start", "training", 3, 5)
    assert recorder.calls[1][0] == 4


def test_progress_is_stopped_when_a_run_fails():
    class Failing(Recorder):
        def update(self, step, losses):
            raise ZeroDivisionError

    recorder = Failing()
    with pytest.raises(ZeroDivisionError):
        run(recorder)
    assert recorder.calls[-1] == "stop"


@pytest.mark.parametrize("make", [Bar, Silent, Recorder])
def test_progress_may_be_given_as_a_class(make):
    assert run(make).steps == 3


def test_lines_where_there_is_no_terminal(capsys):
    run(Bar(every_line=0.0))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    pattern = (
        r"training: step 3/3, [\d,]+ steps/s, at most 0 s left, mean loss [\d.]+ "
        r"\(a [\d.]+, b [\d.]+, c [\d.]+\)"
    )
    assert re.fullmatch(pattern, lines[-1]), lines[-1]


def test_few_lines_by_default(capsys):
    run(Bar())
    assert capsys.readouterr().err == ""
