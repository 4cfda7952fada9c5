"""Public data sets as tasks: what there is, fetching it, and making tasks of it by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lazy_loader

from moduli.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from moduli.data import (
        bundled,
        cache,
        celeba,
        cifar10,
        computer_survey,
        crispr,
        glove,
        imdb,
        kang,
        kang_digits,
        mnist,
        omniglot,
        ptb,
        reviews,
        school,
        uci,
        wikitext2,
    )
    from moduli.data.cache import Dataset
    from moduli.tasks import Task

__all__ = [
    "bundled",
    "cache",
    "celeba",
    "cifar10",
    "computer_survey",
    "crispr",
    "datasets",
    "fetch",
    "glove",
    "imdb",
    "kang",
    "kang_digits",
    "load",
    "mnist",
    "omniglot",
    "ptb",
    "reviews",
    "rows",
    "school",
    "uci",
    "wikitext2",
]
__getattr__, _, _ = lazy_loader.attach(
    __name__,
    [
        "bundled",
        "cache",
        "celeba",
        "cifar10",
        "computer_survey",
        "crispr",
        "glove",
        "imdb",
        "kang",
        "kang_digits",
        "mnist",
        "omniglot",
        "ptb",
        "reviews",
        "school",
        "uci",
        "wikitext2",
    ],
)


def datasets() -> dict[str, Dataset]:
    """All data sets by name, such as `uci/iris`, `sklearn/wine`, `mnist`, `omniglot`, `celeba`, `reviews`."""
    from moduli.data import (
        bundled,
        celeba,
        cifar10,
        computer_survey,
        crispr,
        glove,
        imdb,
        kang,
        kang_digits,
        mnist,
        omniglot,
        ptb,
        reviews,
        school,
        uci,
        wikitext2,
    )

    modules = (mnist, cifar10, omniglot, celeba, imdb, reviews, ptb, wikitext2, glove, crispr, kang, school)
    single = [*(module.DATASET for module in (*modules, computer_survey)), crispr.CELL_LINES]
    single += kang_digits.DATASETS.values()
    return {**bundled.DATASETS, **uci.DATASETS, **{dataset.name: dataset for dataset in single}}


def load(name: str, **options: Any) -> list[Task]:
    """The tasks of a data set, or of a group of them; what is missing is downloaded where that is allowed.

    Args:
        name: of a data set (see `datasets`), or `uci` (all ten), `sklearn` (all five), `mnist/pairs`.
        options: those of the function that makes the tasks: `uci.tasks`, `bundled.tasks`, `mnist.tasks`,
            `mnist.pair_tasks`, `cifar10.tasks`, `omniglot.tasks`, `celeba.tasks`, `imdb.tasks`,
            `reviews.tasks`, `ptb.tasks`, `wikitext2.tasks`, `crispr.tasks`, `crispr.cell_tasks` (of
            `deepcrispr`), `kang.tasks`, `school.tasks`, `computer_survey.tasks`; `kang_mnist` and
            `kang_usps` have none. One thing differs: the UCI sets are split here into 64 % training, 16 %
            validation and 20 % test rows, unless `val` and `test` say otherwise.

    Raises:
        InputError: if the name or an option is unknown, or a file is damaged, cannot be fetched or written.
    """
    known = _makers()
    _check_name(name, known)
    make = known[name]
    accepted = inspect.signature(make).parameters
    for option in options:
        if option not in accepted:
            raise InputError(
                f"data set {name!r}: unknown option {option!r}, {did_you_mean(option, accepted)}"
            )
    return make(**options)


def fetch(name: str) -> list[Path]:
    """Downloads what is missing of a data set or a group, checks what is there; the places of the files.

    Raises:
        InputError: if the name is unknown, or a file is damaged, cannot be fetched or written.
    """
    _check_name(name, _makers())
    sets = datasets().values()
    wanted = [d for d in sets if f"{d.name}/".startswith(f"{name}/") or name.startswith(f"{d.name}/")]
    return list(dict.fromkeys(path for dataset in wanted for path in dataset.fetch()))


def rows() -> list[dict[str, Any]]:
    """A row for each data set, to be shown as a table: name, tasks, samples, licence, where, present."""
    return [
        {
            "name": dataset.name,
            "tasks": dataset.about,
            "samples": dataset.samples,
            "licence": dataset.licence,
            "where": str(dataset.places[0].parent) if dataset.places else "comes with scikit-learn",
            "present": dataset.present,
        }
        for dataset in datasets().values()
    ]


def _makers() -> dict[str, Callable[..., list[Task]]]:
    """What makes the tasks of every name that `load` knows."""
    from moduli.data import bundled, mnist, uci

    groups = {
        "uci": partial(uci.tasks, val=0.16, test=0.2),
        "sklearn": bundled.tasks,
        "mnist/pairs": mnist.pair_tasks,
    }
    return {**{name: dataset.tasks for name, dataset in datasets().items()}, **groups}


def _check_name(name: str, known: Mapping[str, Any]) -> None:
    if name not in known:
        raise InputError(f"unknown data set {name!r}, {did_you_mean(name, known)}")
