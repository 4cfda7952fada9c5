"""moduli: deep multitask learning with shared modules.

One joint model for many tasks, made of modules that are assembled in different ways for different tasks,
trained by gradient descent, and compared honestly with separate models.

Names are loaded when they are first used, so that `import moduli` and `moduli --help` are fast.
"""

import lazy_loader as _lazy

from moduli._version import __version__

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
__all__ += ["__version__"]
