"""The command line: one function for each command, and no logic. What a command does is in the library.

Nothing heavy is imported here: `moduli --help` does not load torch or pandas.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from moduli._version import __version__
from moduli.cli import games
from moduli.cli.console import as_table, out, say
from moduli.errors import InputError, MissingExtra, RunError

if TYPE_CHECKING:
    from moduli.evaluation import Comparison


class Commands(TyperGroup):
    """Commands whose errors are one line: exit code 2 for bad input, 3 for a failed run, 130 for Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _note
                return super().invoke(ctx)
        except (InputError, MissingExtra) as error:
            say(f"error: {error}")
            raise typer.Exit(2) from None
        except RunError as error:
            say(f"error: {error}")
            raise typer.Exit(3) from None
        except KeyboardInterrupt as error:
            say(str(error) or "stopped")
            raise typer.Exit(130) from None


def _note(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    say(f"note: {message}")


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(no_args_is_help=True, help="Public data sets: what there is, and fetching them.")
app.add_typer(data, name="data")
app.add_typer(games.app, name="games")

RunFolder = Annotated[Path, typer.Argument(metavar="DIR", help="A run folder.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def moduli(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Deep multitask learning with shared modules: one model for many tasks, compared with separate ones.

    A run file (YAML) names tables and methods, and `moduli run` does the rest.

    Example: `moduli run clinic.yaml`
    """


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="The run file.")],
    folder: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="The run folder; runs/NAME if not given."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="Change the run file; may be repeated."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", help="How many seeds.")] = None,
    device: Annotated[str | None, typer.Option(metavar="D", help="auto, cpu, cuda, cuda:1, mps.")] = None,
) -> None:
    """Train and compare the methods of a run file, save their models, write the report.

    Example: `moduli run clinic.yaml --out runs/first --set train.steps=1000 --seeds 3`
    """
    from moduli.runs import run_file
    from moduli.training import Bar

    _finish(run_file(file, folder, changes or (), seeds, device, Bar(), say))


@app.command()
def resume(folder: RunFolder) -> None:
    """Go on with a run that was stopped, to the same numbers as if it had not been.

    Example: `moduli resume runs/clinic`
    """
    from moduli import runs
    from moduli.training import Bar

    if runs.is_finished(folder):
        say(f"{folder} is finished: its report is {folder / 'report.html'}")
        return
    _finish(runs.resume(folder, Bar(), say))


@app.command()
def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run folder, or one of its models.")],
    task: Annotated[str, typer.Option(metavar="NAME", help="The task to predict.")],
    table: Annotated[Path, typer.Option(metavar="FILE", help="A CSV or Parquet file.")],
    to: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="A .csv or .parquet file; printed if not given."),
    ] = None,
    method: Annotated[
        str | None, typer.Option(metavar="M", help="Whose model; that of `sharing` if not given.")
    ] = None,
) -> None:
    """Predict a task for every row of a table: one row each, in the same order.

    Example: `moduli predict runs/clinic --task heart --table new.csv --out predicted.csv`
    """
    from moduli.runs import load_predictor
    from moduli.runs.predictor import write_frame

    predicted = load_predictor(folder, method).predict(task, table)
    if to is None:
        predicted.to_csv(sys.stdout, index=False)
    else:
        write_frame(to, predicted)
        say(f"{len(predicted)} rows written to {to}")


@app.command()
def report(folder: RunFolder) -> None:
    """Write the report of a finished run anew, one page that opens without a network.

    Example: `moduli report runs/clinic`
    """
    from moduli.report.page import write_report

    say(f"report: {write_report(folder)}")


@app.command("list")
def list_names() -> None:
    """List the words that a run file may use: methods, balancing, schedules, optimizers, kinds of tasks.

    Example: `moduli list`
    """
    from moduli.runs.words import names

    for title, rows in names().items():
        out.print(as_table(f"{title}:", ("", ""), rows), "")


@data.command("list")
def list_data() -> None:
    """List the public data sets.

    Example: `moduli data list`
    """
    from moduli.data import rows

    columns = ("name", "tasks", "samples", "licence", "here")
    found = [
        (r["name"], r["tasks"], f"{r['samples']:,}", r["licence"], "yes" if r["present"] else "no")
        for r in rows()
    ]
    out.print(as_table("", columns, found))


@data.command("fetch")
def fetch_data(name: Annotated[str, typer.Argument(metavar="NAME", help="See `moduli data list`.")]) -> None:
    """Download what is missing of a data set, or of a group of them such as `uci`.

    Example: `moduli data fetch uci/iris`
    """
    from moduli.data import fetch

    for path in fetch(name):
        out.print(str(path), soft_wrap=True)


@data.command("path")
def data_path() -> None:
    """Print the folder where data sets are kept. The environment variable MODULI_DATA sets it.

    Example: `MODULI_DATA=/data moduli data path`
    """
    from moduli.data.cache import folder

    out.print(str(folder()), soft_wrap=True)


# ------------------------------------------------------------------ what is shown


def _finish(comparison: Comparison) -> None:
    """Shows the results of a run; exit code 3 if a part of it failed."""
    out.print(comparison.table())
    for failure in comparison.failures:
        say(f"failed: {failure.error}")
    say(f"report: {comparison.folder}/report.html")
    if comparison.failures:
        raise typer.Exit(3)


def main() -> None:
    """The command `moduli`."""
    app(prog_name="moduli")
