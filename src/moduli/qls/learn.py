"""Learning a schedule: the first phase of the Q-learning scheduler, many trainings with resets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from moduli.errors import InputError, Interrupted, SaveError
from moduli.files import write_atomically
from moduli.model import JointModel
from moduli.qls.process import TrainingProcess
from moduli.qls.tally import Tally
from moduli.scheduling.dqn import DQN
from moduli.scheduling.monitor import Monitor
from moduli.scheduling.qls import Policy, affordable
from moduli.tasks import Task
from moduli.training import Progress, Silent, Train
from moduli.training.checkpoint import Checkpoints
from moduli.training.interrupt import Interrupt
from moduli.training.settings import cpu_threads
from moduli.types import Combine, State


class Learner:
    """Learns Q values by trial and error; `learn_schedule` is the short way.

    Its state is everything that the next action depends on. It is saved after every episode if there is a
    folder, and a learner that finds such a state goes on from there, to the same bits.

    ``history`` has one record for each episode: its number, the step at its end, mean reward and return,
    the last reward, the mean loss of the Q network (None before learning starts), the temperature at its
    end, the mean Q value of each task, the shares of steps that each task got, of actions that were the
    greedy ones, and of rewards that were punished.

    Args:
        process: the training that is scheduled.
        agent: what learns.
        steps: training steps in all.
        folder: for checkpoints, `episodes.jsonl` and `policy.safetensors`.
        progress: where to report.
        title: what the progress report calls this run.
    """

    def __init__(
        self,
        process: TrainingProcess,
        agent: DQN,
        steps: int,
        folder: Path | None = None,
        progress: Progress | None = None,
        title: str = "learning a schedule",
    ):
        if steps < 1:
            raise InputError(f"steps is {steps}: give at least 1")
        self.process, self.agent, self.steps, self.folder = process, agent, steps, folder
        self.progress, self.title = progress or Silent(), title
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.checkpoints = Checkpoints(folder / "checkpoints", keep=2) if folder is not None else None
        self._log = folder / "episodes.jsonl" if folder is not None else None
        self._observed: Tensor | None = None  # the state, None where a reset is due
        self._tally = Tally(list(process.tasks))

    # -------------------------------------------------------------- the loop

    def run(self) -> Policy:
        """Learns to the end.

        Raises:
            Interrupted: after Ctrl-C; the state was saved if there is a folder.
        """
        with Interrupt() as interrupt:
            self._resume()
            self.progress.start(self.title, self.step, self.steps)
            try:
                while self.step < self.steps:
                    self.one_action()
                    if interrupt.requested and self.step < self.steps:
                        self._save()
                        raise Interrupted(
                            f"{self.title}: stopped at step {self.step}{self._what_was_saved()}"
                        )
            finally:
                self.progress.stop()
            policy = self.policy()
            if self.folder is not None:
                policy.save(self.folder / "policy.safetensors")
        if interrupt.requested:
            raise Interrupted(f"{self.title}: stopped after the last step{self._what_was_saved()}")
        return policy

    def one_action(self) -> None:
        """One action, what follows from it, and what is learned of it."""
        state = self.process.reset() if self._observed is None else self._observed
        q = self.agent.values(state)
        action = self.agent.act(state)
        before = self.process.steps
        observed, reward, _, truncated, info = self.process.step(action)
        self.agent.remember(state, action, reward, observed)  # a truncation is no end: see DQN
        with cpu_threads(1):  # the network is small: several would wait for each other
            loss = self.agent.learn()
        taken = self.process.steps - before
        self.step += taken
        self._observed = None if truncated else observed
        self._tally.add(q, action, taken, reward, loss, info["punished"])
        if self.progress.wants_losses():
            self.progress.update(self.step, info["losses"])
        if truncated or self.step >= self.steps:
            self._close_episode()

    def _what_was_saved(self) -> str:
        return "; the state was saved" if self.checkpoints else "; without a folder nothing was saved"

    def policy(self) -> Policy:
        """What was learned so far."""
        monitor = self.process.monitor
        weights = {name: x.detach().clone() for name, x in self.agent.network.state_dict().items()}
        return Policy(
            tuple(self.process.tasks), weights, self.process.steps_per_action,
            monitor.bins, monitor.measure, monitor.samples, monitor.hard,
        )  # fmt: skip

    # -------------------------------------------------------------- records

    def _close_episode(self) -> None:
        record = {
            "episode": self.process.episode,
            "step": self.step,
            "temperature": self.agent.temperature,
            **self._tally.record(),
        }
        self.history.append(record)
        self._tally = Tally(list(self.process.tasks))
        if self._log is not None:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(self._log, "a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
            except OSError as error:
                raise SaveError(f"could not write {self._log} ({error.strerror}): free some space") from error
        self._save()

    # -------------------------------------------------------------- state

    def state_dict(self) -> State:
        """Everything that the next action depends on."""
        return {
            "settings": self._settings(),
            "step": self.step,
            "records": len(self.history),
            "observed": None if self._observed is None else self._observed.clone(),
            "process": self.process.state_dict(),
            "agent": self.agent.state_dict(),
            "tally": self._tally.state_dict(),
        }

    def load_state_dict(self, state: State) -> None:
        """Goes back to the moment at which the state was taken.

        Raises:
            InputError: if it was taken with other settings.
        """
        for name, now in self._settings().items():
            then = state["settings"].get(name)
            if then != now:
                raise InputError(
                    f"{self.title}: {self.folder} was begun with {name} {then}, now it is {now}: "
                    "give another folder"
                )
        self.step, self._observed = state["step"], state["observed"]
        self._tally.load_state_dict(state["tally"])
        self.process.load_state_dict(state["process"])
        self.agent.load_state_dict(state["agent"])

    def _settings(self) -> dict[str, Any]:
        """What must not change when a run goes on."""
        process, monitor = self.process, self.process.monitor
        return {
            "tasks": list(process.tasks),
            "steps": self.steps,
            "reset_every": process.reset_every,
            "state_every": process.steps_per_action,
            "seed": process.seed,
            "measure": monitor.measure,
            "bins": monitor.bins,
            "samples": monitor.samples,
            "hard": monitor.hard,
            "baselines": process.baselines,
            "penalty": [process.penalty_mode, process.penalty, process.threshold, process.add],
            "training": process.train.to_json(),
            "dqn": self.agent.options(),
        }

    def _save(self) -> None:
        if self.checkpoints is not None:
            self.checkpoints.save(self.step, self.state_dict(), self.step)

    def _resume(self) -> None:
        state = self.checkpoints.latest() if self.checkpoints is not None else None
        if state is not None:
            self.load_state_dict(state)
        if self._log is not None and self._log.exists():
            records = state["records"] if state is not None else 0
            lines = self._log.read_text(encoding="utf-8").splitlines()[:records]
            self.history = [json.loads(line) for line in lines]
            kept = "".join(line + "\n" for line in lines)
            write_atomically(self._log, lambda file: file.write(kept.encode()))


def learn_schedule(
    build: Callable[[int], JointModel],
    tasks: Sequence[Task],
    *,
    steps: int = 1_000_000,
    reset_every: int = 10_000,
    baselines: Mapping[str, float] | None = None,
    state_every: int | None = None,
    samples: int | None = None,
    measure: str = "margin",
    bins: int = 20,
    hard: bool = False,
    unlabelled: Mapping[str, Tensor] | None = None,
    penalty_mode: Literal["always", "armed"] = "always",
    combine: Callable[[], Combine] | None = None,
    dqn: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    progress: Progress | Callable[[], Progress] | None = None,
    **train: Any,
) -> Policy:
    """Learns which task to train when: the first phase of the Q-learning scheduler (section 4 of its paper).

    Models are trained again and again, `reset_every` steps each, while a deep Q network learns from the
    validation losses which task should have been next. The second phase, the training that counts, follows
    the policy: `fit(..., schedule=QLearningScheduler(policy, tasks))`.

    Only training and validation data are read, never the test split. Since the schedule is tuned on
    validation data, results on them are not to be reported.

    Time: an action costs `state_every` training steps and a look at the validation samples. The Q network
    learns from `steps / state_every` actions; with less than a few thousand it has hardly learned anything.
    With large validation splits, a look at some `samples` of each is what makes more actions affordable.

    Args:
        build: from a seed to a fresh model.
        tasks: what it learns.
        steps: training steps in all.
        reset_every: training steps of one model.
        baselines: the single-task metric of each task on validation data, for the penalty; None for none.
        state_every: training steps for which an action holds. 1 is the paper's. None is the number for which
            looks take at most a sixth of the time, see `moduli.scheduling.affordable`.
        samples, measure, bins, hard, unlabelled: see `Monitor`.
        penalty_mode, combine: see `TrainingProcess`.
        dqn: options of `DQN`, in place of those that `DQN.scaled` gives for so many actions.
        folder: saves the state there after every episode, and the policy at the end; called again, goes on
            from what is there.
        seed: of everything.
        device: of the models; the Q network is so small that it stays on the CPU.
        progress: where to report.
        **train: settings of the training, see `Train`. Its `steps` is `reset_every`.

    Returns:
        The policy. `history` of a `Learner`, or `episodes.jsonl` in the folder, tells how it was learned.

    Raises:
        InputError: for impossible options, or a folder of another run.
        Interrupted: after Ctrl-C; the state was saved if there is a folder.
    """
    ordered = list(tasks)
    monitor = Monitor(ordered, bins, measure, samples, unlabelled, hard)
    settings = Train(**{"steps": reset_every, **train})
    state_every = state_every or affordable(monitor.rows, settings.batch_size)
    process = TrainingProcess(
        build, ordered, settings, baselines, monitor, state_every, reset_every,
        penalty_mode=penalty_mode, combine=combine, device=device, seed=seed,
    )  # fmt: skip
    options = {**DQN.scaled(steps // state_every), **(dqn or {})}
    agent = DQN(monitor.size, len(ordered), seed=seed, **options)
    where = Path(folder) if folder is not None else None
    return Learner(process, agent, steps, where, progress() if callable(progress) else progress).run()
