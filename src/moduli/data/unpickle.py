"""Pickle files from the internet: read without running what they may ask to be run.

A pickle file is a small program that may call any function. Here it gets lists, dicts, strings, numbers and
numpy arrays, and nothing else: everything else that a file names is refused.
"""

from __future__ import annotations

import pickle
from typing import IO, Any

import numpy as np

_REBUILD = np.empty(0).__reduce__()[0]
_ADMITTED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    # Where numpy has this function: before version 2 (and in files of Python 2), and from it on.
    ("numpy.core.multiarray", "_reconstruct"): _REBUILD,
    ("numpy._core.multiarray", "_reconstruct"): _REBUILD,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise ValueError(f"the pickle file asks for {module}.{name}, which is not admitted") from None


def load_arrays(file: IO[bytes], encoding: str = "ASCII") -> Any:
    """What a pickle file holds: arrays, in lists and dicts.

    Args:
        file: open for reading.
        encoding: of the strings in files of Python 2; "bytes" or "latin1" for those with arrays.

    Raises:
        ValueError: if the file is damaged, or asks for anything but arrays.
    """
    try:
        return _Unpickler(file, encoding=encoding).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, TypeError) as error:
        raise ValueError(f"no pickle file of arrays ({error})") from error
