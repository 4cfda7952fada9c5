"""Sharing structures: who applies which module where."""

from moduli.sharing.draw import draw_route, draw_topology, route_graph, topology_graph
from moduli.sharing.orders import hard, permuted, single, soft
from moduli.sharing.route import Apply, Merge, Route, chain, soft_order
from moduli.sharing.structure import RoutedStructure

__all__ = [
    "Apply",
    "Merge",
    "Route",
    "RoutedStructure",
    "chain",
    "draw_route",
    "draw_topology",
    "hard",
    "permuted",
    "route_graph",
    "single",
    "soft",
    "soft_order",
    "topology_graph",
]
