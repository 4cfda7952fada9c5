"""What every test starts from: one thread, and global random numbers in a known state."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
import torch

torch.set_num_threads(1)
if "MODULI_DATA" in os.environ:  # some tests work in another folder
    os.environ["MODULI_DATA"] = os.path.abspath(os.environ["MODULI_DATA"])


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
