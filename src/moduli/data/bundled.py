"""The real data sets that come with scikit-learn: no download, so always there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from moduli.data.cache import Dataset
from moduli.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame

    from moduli.tasks import Task


@dataclass(frozen=True)
class Bundled:
    """What scikit-learn does not say about one of its sets in a form that can be listed."""

    title: str
    about: str
    samples: int
    licence: str
    citation: str
    homepage: str
    kind: str = "multiclass"


_UCI = "https://archive.ics.uci.edu/dataset/"

SETS = {
    "iris": Bundled(
        title="Iris",
        about="3 classes from 4 columns",
        samples=150,
        licence="CC BY 4.0",
        citation="Fisher, R. (1936). Iris. doi:10.24432/C56C76",
        homepage=_UCI + "53/iris",
    ),
    "wine": Bundled(
        title="Wine",
        about="3 classes from 13 columns",
        samples=178,
        licence="CC BY 4.0",
        citation="Aeberhard, S. & Forina, M. (1992). Wine. doi:10.24432/C5PC7J",
        homepage=_UCI + "109/wine",
    ),
    "breast_cancer": Bundled(
        title="Breast Cancer Wisconsin (Diagnostic)",
        about="2 classes from 30 columns",
        samples=569,
        licence="CC BY 4.0",
        citation="Wolberg, W., Mangasarian, O., Street, N. & Street, W. (1993). doi:10.24432/C5DW2B",
        homepage=_UCI + "17/breast+cancer+wisconsin+diagnostic",
        kind="binary",
    ),
    "digits": Bundled(
        title="Optical Recognition of Handwritten Digits, test part",
        about="10 classes from 64 columns (8×8 pixels)",
        samples=1797,
        licence="CC BY 4.0",
        citation="Alpaydin, E. & Kaynak, C. (1998). doi:10.24432/C50P49",
        homepage=_UCI + "80/optical+recognition+of+handwritten+digits",
    ),
    "diabetes": Bundled(
        title="Diabetes progression",
        about="regression from 10 columns",
        samples=442,
        licence="not stated by its makers; distributed with scikit-learn (BSD-3-Clause)",
        citation="Efron, B., Hastie, T., Johnstone, I. & Tibshirani, R. (2004). Least angle regression. "
        "Annals of Statistics 32(2):407-499",
        homepage="https://www4.stat.ncsu.edu/~boos/var.select/diabetes.html",
        kind="regression",
    ),
}


def tasks(
    names: Sequence[str] | None = None,
    seed: int = 0,
    scaling: str = "standard",
    val: float = 0.16,
    test: float | Literal["val"] = 0.2,
) -> list[Task]:
    """The five sets as tasks, or those in `names`.

    Args:
        names: which sets, such as `["iris", "diabetes"]`.
        seed: decides the split; keep it fixed over trials.
        scaling, val, test: as in `load_tables`.

    Raises:
        InputError: if a name is unknown.
    """
    from moduli.tasks.tables import load_tables

    chosen = list(SETS) if names is None else list(names)
    for name in chosen:
        if name not in SETS:
            raise InputError(f"unknown scikit-learn set {name!r}, {did_you_mean(name, SETS)}")
    return load_tables(
        [
            {
                "name": name,
                "table": frame(name),
                "target": "target",
                "kind": SETS[name].kind,
                "scaling": scaling,
                "val": val,
                "test": test,
            }
            for name in chosen
        ],
        seed=seed,
    )


def frame(name: str) -> DataFrame:
    """One set as a table in its own units; its last column, `target`, has the names of the classes."""
    from sklearn import datasets

    options = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(datasets, f"load_{name}")(as_frame=True, **options)
    table = bunch.frame.copy()
    if SETS[name].kind != "regression":
        table["target"] = [str(bunch.target_names[code]) for code in table["target"]]
    return table


def _dataset(name: str, about: Bundled) -> Dataset:
    return Dataset(
        name=f"sklearn/{name}",
        title=about.title,
        about=about.about,
        samples=about.samples,
        licence=about.licence,
        citation=about.citation,
        homepage=about.homepage,
        files=(),
        tasks=partial(tasks, names=(name,)),
    )


DATASETS = {f"sklearn/{name}": _dataset(name, about) for name, about in SETS.items()}
