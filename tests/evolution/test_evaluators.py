"""Evaluators: the same results wherever jobs are done, whatever happens to the workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from moduli.errors import InputError, RunError
from moduli.evolution.evaluators import (
    Board,
    InProcess,
    Job,
    Journal,
    Processes,
    Ray,
    Unwatched,
)
from moduli.evolution.evaluators.folder import check_settings, keep_settings


def work(shared, content):
    """What all tests let workers do: `content` is an order and a number."""
    what, n = content
    folder = Path(shared["folder"])
    with open(folder / f"calls-{n}", "a") as file:
        file.write("x")
    first = (folder / f"calls-{n}").stat().st_size == 1
    if what == "raise":
        raise ValueError(f"no such number: {n}")
    if what == "no json":
        return object()
    if what == "die" or (what == "die once" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "stop once" and first:
        raise KeyboardInterrupt("told to stop")
    if what == "sleep":
        time.sleep(60)
    if what == "pid":
        return os.getpid()
    if what == "threads":
        return torch.get_num_threads()
    return {"sum": shared["weights"].sum().item() + n, "pair": (n, float("inf"))}


def shared_in(folder):
    folder.mkdir(exist_ok=True)
    return {"folder": str(folder), "weights": torch.ones(3)}


def calls(folder, n):
    path = folder / f"calls-{n}"
    return path.stat().st_size if path.exists() else 0


def done(workers, jobs, **options):
    return {result.id: result for result in workers.run(jobs, **options)}


def plain(results):
    return {id_: (r.value, r.error) for id_, r in results.items()}


def fine(numbers):
    return [Job(f"job {n}", ("add", n)) for n in numbers]


TROUBLE = [*fine([1, 2]), Job("bad", ("raise", 3)), Job("odd", ("no json", 4)), *fine([5])]


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Two processes for all tests of this file, as starting them takes seconds."""
    folder = tmp_path_factory.mktemp("processes")
    with Processes(workers=2, retries=1).open(work, shared_in(folder)) as workers:
        yield workers, folder


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    with InProcess().open(work, shared_in(folder)) as workers:
        yield workers, folder


def test_values_are_json_data_and_an_exception_is_a_failure_of_its_job_alone(here):
    results = plain(done(here[0], TROUBLE))
    assert results["job 2"] == ({"sum": 5.0, "pair": [2, float("inf")]}, None)
    assert results["bad"] == (None, "ValueError: no such number: 3")
    assert results["odd"][0] is None
    assert results["odd"][1].startswith("TypeError: Object of type object is not JSON serializable")


def test_processes_give_the_results_of_this_process_in_whatever_order(here, processes):
    expected = plain(done(here[0], TROUBLE))
    assert plain(done(processes[0], TROUBLE)) == expected
    assert plain(done(processes[0], TROUBLE[::-1])) == expected


def test_both_workers_work_and_each_with_one_thread(processes):
    results = done(processes[0], [Job(str(n), ("threads", 10 + n)) for n in range(6)])
    assert {r.value for r in results.values()} == {1}
    assert {r.worker for r in results.values()} <= {"worker 1", "worker 2"}
    assert all(0 <= r.seconds < 30 for r in results.values())


def test_the_job_of_a_worker_that_dies_is_done_again_and_one_that_always_kills_fails(processes):
    workers, folder = processes
    jobs = [Job("killer", ("die", 20)), Job("unlucky", ("die once", 21)), *fine([22, 23])]
    results = done(workers, jobs)
    assert results["unlucky"].value["sum"] == 24.0
    assert calls(folder, 21) == 2
    assert calls(folder, 20) == 2  # retries=1
    assert results["killer"].error == "the worker died 2 times, the last time with exit code -9"
    assert [results[f"job {n}"].value["sum"] for n in (22, 23)] == [25.0, 26.0]


def test_workers_that_die_while_they_have_nothing_to_do_are_replaced(processes):
    workers, _ = processes
    pids = {result.value for result in workers.run([Job(str(n), ("pid", 25 + n)) for n in range(4)])}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert done(workers, fine([29]))["job 29"].value["sum"] == 32.0
    time.sleep(0.5)  # now the pool of the other one has noticed
    assert set(done(workers, fine([29, 31]))) == {"job 29", "job 31"}


def test_a_job_that_was_told_to_stop_is_done_again(processes):
    workers, folder = processes
    results = done(workers, [Job("stopped", ("stop once", 30))])
    assert results["stopped"].value["sum"] == 33.0
    assert calls(folder, 30) == 2


def test_ctrl_c_stops_the_workers_at_once_and_gives_what_was_finished(processes, tmp_path):
    workers, folder = processes
    done(workers, fine([40]))  # they are up
    journal = Journal(tmp_path / "journal.jsonl")
    jobs = [Job("long", ("sleep", 41)), *fine([42])]

    def interrupt():
        while not (journal.results() and calls(folder, 41)):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    began, seen = time.monotonic(), []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        for result in workers.run(jobs, journal=journal):
            seen.append(result.id)
    thread.join()
    assert seen == ["job 42"]
    assert time.monotonic() - began < 20
    assert list(journal.results()) == ["job 42"]
    assert done(workers, fine([43]))["job 43"].value["sum"] == 46.0  # and a new worker takes its place


def test_a_journal_keeps_results_and_failures_and_their_jobs_are_not_done_again(here, tmp_path):
    workers, folder = here
    jobs = [*fine([50, 51]), Job("bad", ("raise", 52))]
    path = tmp_path / "new" / "journal.jsonl"
    first = done(workers, jobs, journal=Journal(path))
    again = done(workers, [*jobs, *fine([53])], journal=Journal(path))
    assert {k: again[k] for k in first} == first  # seconds and worker too
    assert again["bad"].error == "ValueError: no such number: 52"
    assert [calls(folder, n) for n in (50, 51, 52, 53)] == [1, 1, 1, 1]


def test_a_last_line_that_was_cut_off_is_a_job_to_be_done(here, tmp_path):
    workers, folder = here
    journal = Journal(tmp_path / "journal.jsonl")
    done(workers, fine([60, 61]), journal=journal)
    whole = journal.path.read_bytes()
    for cut in (1, 10, len(whole.splitlines()[1])):
        journal.path.write_bytes(whole[:-cut])
        before = calls(folder, 61)
        results = done(workers, fine([60, 61]), journal=Journal(journal.path))
        assert calls(folder, 61) == before + 1
        assert results["job 61"].value["sum"] == 64.0
        assert [json.loads(line)["id"] for line in journal.path.read_text().splitlines()] == [
            "job 60",
            "job 61",
        ]
    assert calls(folder, 60) == 1


def test_a_journal_damaged_in_the_middle_says_which_line(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.path.write_text('{"id": "a"}\n{"id"\n{"id": "b"}\n')
    with pytest.raises(RunError, match=r"line 2 of .*journal.jsonl is damaged"):
        journal.results()


def test_what_cannot_be_sent_is_one_clear_line(tmp_path):
    with pytest.raises(
        InputError, match=r"^the function .*<lambda> cannot be sent to other processes \([^\n]*\Z"
    ):
        Processes().open(lambda shared, content: content)
    with pytest.raises(InputError, match="what the jobs share cannot be sent"):
        Processes().open(work, {"open": threading.Lock()})


def test_a_job_that_cannot_be_sent_is_one_clear_line(processes):
    with pytest.raises(InputError, match="job 'x' cannot be sent"):
        done(processes[0], [Job("x", threading.Lock())])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"workers": 0}, "workers is 0: give at least 1"),
        ({"threads": 0}, "threads is 0: give at least 1"),
        ({"retries": -1}, "retries is -1: give at least 0"),
    ],
)
def test_impossible_numbers(options, line):
    with pytest.raises(InputError, match=line):
        Processes(**options).open(work)


def test_two_jobs_of_one_name(here):
    with pytest.raises(InputError, match="two jobs are called 'job 1'"):
        done(here[0], fine([1, 2, 1]))


SCRIPT = """
import time
from pathlib import Path
from moduli.evolution.evaluators import Job, Processes

def wait(shared, content):
    Path(shared).write_text("here")
    time.sleep(1.5)
    Path(shared).write_text("finished")

def main():
    with Processes(workers=1, retries=0).open(wait, {path!r}) as workers:
        print(list(workers.run([Job("a")])))

{guard}main()
"""


def test_workers_end_with_a_search_that_is_killed(tmp_path):
    path, script = tmp_path / "state", tmp_path / "script.py"
    script.write_text(SCRIPT.format(guard='if __name__ == "__main__": ', path=str(path)))
    process = subprocess.Popen([sys.executable, str(script)])
    while not path.exists():
        time.sleep(0.05)
        assert process.poll() is None
    process.kill()
    process.wait()
    time.sleep(1.7)
    assert path.read_text() == "here"


def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(guard="", path=str(tmp_path / "state")))
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    assert "worker 1 does not start (its process ended before it took the job): a script" in run.stderr
    assert "if __name__ == '__main__':" in run.stderr


class Told(Unwatched):
    """Notes what it is told."""

    def __init__(self):
        self.notes = []

    def begin(self, title, jobs, done):
        self.notes.append((title, jobs, done))

    def started(self, job, worker):
        self.notes.append((job, worker))

    def finished(self, result):
        self.notes.append(result.id)

    def end(self):
        self.notes.append("end")


def test_a_watcher_is_told_what_runs_where(here, tmp_path):
    journal, watcher = Journal(tmp_path / "journal.jsonl"), Told()
    done(here[0], fine([70]), journal=journal)
    done(here[0], fine([70, 71]), journal=journal, watcher=watcher, title="second")
    assert watcher.notes == [("second", 2, 1), ("job 71", "worker 1"), "job 71", "end"]


def test_the_board_prints_lines_where_there_is_no_terminal(here, capsys):
    done(
        here[0], [*fine([80]), Job("bad", ("raise", 81)), *fine([82])], watcher=Board(), title="generation 3"
    )
    assert capsys.readouterr().err.splitlines() == [
        "generation 3: 2 of 3, 1 failed; bad on worker 1: ValueError: no such number: 81",
        "generation 3: 3 of 3, 1 failed; job 82 on worker 1: 0 s",
    ]


def test_the_board_shows_bars_in_a_terminal(here, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    done(here[0], fine([83, 84]), watcher=Board(), title="generation 3")
    shown = capsys.readouterr().err
    assert "generation 3" in shown
    assert "2 of 2" in shown


def test_ray_needs_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'moduli\[ray\]'"):
        Ray()


def test_ray_gives_the_same_results_also_when_an_actor_dies(here, tmp_path):
    ray = pytest.importorskip("ray", reason="the package ray is not installed")
    jobs = [*TROUBLE, Job("unlucky", ("die once", 90)), Job("killer", ("die", 91)), Job("t", ("threads", 92))]
    with Ray(workers=2, retries=1).open(work, shared_in(tmp_path)) as workers:
        results = done(workers, jobs)
    assert not ray.is_initialized()
    assert calls(tmp_path, 90) == calls(tmp_path, 91) == 2
    assert results.pop("killer").error.startswith("the worker died 2 times, the last time with ")
    assert results.pop("unlucky").value["sum"] == 93.0
    assert results.pop("t").value == 1
    assert plain(results) == plain(done(here[0], TROUBLE))


@pytest.mark.parametrize(
    ("then", "now"),
    [({"a": 1}, {"a": 2}), ({"a": {"b": 1}}, {"a": {}}), ({"a": {}}, {"a": {"b": 1}}), ({}, {"a": [1]})],
)
def test_a_folder_of_other_settings_is_refused(tmp_path, then, now):
    keep_settings(tmp_path, then)
    with pytest.raises(InputError, match="give another folder"):
        check_settings(tmp_path, now)
    check_settings(tmp_path, then)
    check_settings(tmp_path, now, free=("a", "a.b"))
    check_settings(tmp_path / "new", now)
