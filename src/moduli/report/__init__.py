"""Showing a comparison: tables, figures, and one self-contained page, all made from its summary."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "figures": ["comparison_figure", "gains_figure"],
        "games": ["write_analysis"],
        "page": ["write_report"],
        "pictures": ["Picture"],
    },
)
