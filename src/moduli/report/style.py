"""One look for all figures: sizes, type, colours. No pyplot, no settings that outlive a call.

Figures are drawn on nothing: `png` puts them on white, `svg` leaves them transparent and lets the page say
what the ink is, so that one figure reads well in light and dark mode. Text in SVG stays text.
"""

from __future__ import annotations

import functools
import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

INK, MUTED, GRID, PAPER = "#1f2329", "#656d77", "#d3d7dc", "#fefefe"
THEMED = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", PAPER: "var(--paper)"}
THEMED |= {"#333333": "var(--ink)", "#555555": "var(--muted)"}  # what routes are drawn with

REFERENCE = "#7d848c"
PALETTE = ("#0077bb", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#33a8c7", "#8c5fbf")
"""Told apart with any common colour blindness, and readable on white and on near-black (after Okabe, Ito)."""
MARKERS = "osD^vPX"
SHADE = PALETTE[0]
TICKS = [1, 2, 2.5, 5, 10]
WIDTH = 9.0
"""Of a full figure, in inches."""

SETTINGS: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # fixed, because finding a free place takes a quarter of the time of drawing
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.6,
    "text.color": INK,
    "text.parse_math": False,  # a task may be called "$x$"
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "svg.fonttype": "none",
}

_ALL_SETTINGS: Any = {
    **{key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith("backend")},
    **SETTINGS,
}

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Runs a drawing function under `SETTINGS`, whatever the user's own matplotlib settings are."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(_ALL_SETTINGS):
            return draw(*args, **kwargs)

    return wrapper


def method_styles(methods: Sequence[str], baseline: str | None) -> dict[str, dict[str, Any]]:
    """Colour, marker and line style of each method; the baseline is grey and dashed."""
    others = [method for method in methods if method != baseline]
    styles = {baseline: {"color": REFERENCE, "marker": "o", "linestyle": (0, (4, 1.5))}}
    for index, method in enumerate(others):
        turn, index = divmod(index, len(PALETTE))
        marker = MARKERS[(index + 1 + turn) % len(MARKERS)]
        styles[method] = {"color": PALETTE[index], "marker": marker, "linestyle": ["-", ":", "-."][turn % 3]}
    return {method: styles[method] for method in methods}


def shorten(name: str, most: int = 26) -> str:
    """A long name without its middle, so that both ends can be read; line breaks become spaces."""
    name = " ".join(name.split())
    if len(name) <= most:
        return name
    tail = (most - 1) // 2
    return f"{name[: most - 1 - tail]}…{name[-tail:]}"


def step_axis(axes: Axes) -> None:
    """Few, short ticks for steps of training: `5k` for 5000."""
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=TICKS))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda x, _: f"{x / 1000:g}k" if abs(x) >= 1000 else f"{x:g}")
    )


class Sheet:
    """A figure laid out in inches from the top: a line for the legend, then rows of axes.

    Explicit places are exact and far faster than a layout engine with dozens of axes.
    """

    def __init__(self, width: float, height: float):
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))

    def axes(self, left: float, top: float, width: float, height: float, **options: Any) -> Axes:
        """Axes with the upper left corner at (left, top), all in inches."""
        box = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box, **options)

    def text(self, left: float, top: float, text: str, **options: Any) -> None:
        """Text whose upper left corner is at (left, top)."""
        options = {"va": "top", "color": MUTED, "fontsize": 8.5, **options}
        self.figure.text(left / self.width, 1 - top / self.height, text, **options)

    def legend(self, handles: Sequence[Artist], top: float = 0.33) -> None:
        """A line of marks and what they mean, so many inches from the top."""
        self.figure.legend(
            handles=list(handles),
            loc="upper left",
            bbox_to_anchor=(0.1 / self.width, 1 - top / self.height),
            ncols=len(handles),
            borderaxespad=0,
            borderpad=0,
            handletextpad=0.1,
            columnspacing=1.0,
            fontsize=8,
        )


class MethodKey:
    """The head of a figure: a note, and below it which colour and marker is which method.

    ``styles`` are those of `method_styles`, ``height`` is what the head takes, in inches.
    """

    def __init__(self, methods: Sequence[str], baseline: str | None, shown: Sequence[str] | None = None):
        self.styles = method_styles(methods, baseline)
        self.shown = list(methods if shown is None else shown)
        names = {method: shorten(method, 24) for method in self.shown}
        self._labels = {m: f"{name} (baseline)" * (m == baseline) or name for m, name in names.items()}
        widest = max(len(label) for label in self._labels.values())
        self._columns = max(1, min(len(self.shown), int((WIDTH - 0.2) / (0.65 + 0.08 * widest))))
        self.height = 0.72 + 0.19 * -(-len(self.shown) // self._columns)

    def draw(self, sheet: Sheet, note: str, lines: bool = False) -> None:
        """Draws it at the top; keys are lines, or markers on the stroke of an interval."""
        sheet.text(0.1, 0.06, note)
        handles = []
        for method in self.shown:
            style = dict(self.styles[method])
            style.pop("marker" if lines else "linestyle")
            handles.append(Line2D([], [], label=self._labels[method], markersize=5, mew=0, **style))
        sheet.figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(0.1 / sheet.width, 1 - 0.34 / sheet.height),
            ncols=self._columns,
            borderaxespad=0,
            borderpad=0,
            handletextpad=0.5,
            columnspacing=1.4,
        )


@styled
def png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure on white, as PNG. The same figure gives the same bytes."""
    file = io.BytesIO()
    with _any_script():
        figure.savefig(file, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return file.getvalue()


@styled
def svg(figure: Figure, name: str) -> str:
    """The figure as an `<svg>` element to put into a page, transparent, in the page's colours.

    ``name`` keeps its ids apart from those of other figures of the page. The page defines the custom
    properties `--ink`, `--muted`, `--grid` and `--paper`.
    """
    file = io.StringIO()
    mpl.rcParams["svg.hashsalt"] = name
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with _any_script():
        figure.savefig(file, format="svg", metadata=metadata)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    for unwanted in ("metadata", "style"):
        text = re.sub(rf"<{unwanted}\b.*?</{unwanted}>", "", text, count=1, flags=re.DOTALL)
    return re.sub(r"<[^<>]+>", lambda tag: _adapt(tag[0], name), text)


def _adapt(tag: str, name: str) -> str:
    """One tag with its ids prefixed and the page's colours. Text between tags is the user's: not touched."""
    tag = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    for color, variable in THEMED.items():
        tag = tag.replace(color, variable)
    return tag


def _any_script() -> warnings.catch_warnings:
    """Names may be in a script that the font lacks: a browser finds another font, a PNG shows boxes."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)
