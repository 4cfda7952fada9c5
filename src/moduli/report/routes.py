"""A figure of fixed orders: which modules each task applies, and in which order."""

from __future__ import annotations

from matplotlib.figure import Figure

from moduli.evaluation.summary import Summary
from moduli.report.style import WIDTH, Sheet, shorten, styled
from moduli.sharing.draw import draw_route
from moduli.sharing.route import Route

MOST_TASKS = 20


@styled
def routes_figure(summary: Summary, method: str) -> Figure | None:
    """The route of every task through modules that tasks share, first seed; at most 20 tasks are drawn.

    None where a drawing says nothing: routes were not logged, all are equal, no module is shared, or the
    shares of learned merges say more (see `soft_order_figure`).
    """
    runs = summary["methods"][method].get("runs", [])
    run = next((run for run in runs if run.get("extra", {}).get("routes")), None)
    if run is None or run["extra"].get("scales"):
        return None
    saved = run["extra"]["routes"]
    names = [task["name"] for task in summary["tasks"] if task["name"] in saved]
    routes = [Route.from_json(saved[name]) for name in names]
    used = [module for route in routes for module in route.modules]
    if len(set(used)) == len(used) or all(route == routes[0] for route in routes):
        return None
    shown, columns = min(len(names), MOST_TASKS), 4
    cell = (WIDTH - 0.2) / columns
    sheet = Sheet(WIDTH, 0.45 + 1.6 * -(-shown // columns))
    rest = f". First {shown} of {len(names)} tasks" if shown < len(names) else ""
    note = "modules from encoder to decoder, a row for each module"
    sheet.text(0.1, 0.06, f"{shorten(method)}, seed {run['seed']}: {note}{rest}")
    for index in range(shown):
        row, column = divmod(index, columns)
        axes = sheet.axes(0.1 + column * cell, 0.6 + row * 1.6, cell - 0.2, 1.3)
        draw_route(routes[index], axes, title=shorten(names[index], 24))
    return sheet.figure
