"""Mathematics: tensors in, tensors out. No state, no files, no global random numbers."""

from moduli.functional.merge import soft_merge, soft_merge_common
from moduli.functional.stacked import stacked_linear

__all__ = ["soft_merge", "soft_merge_common", "stacked_linear"]
