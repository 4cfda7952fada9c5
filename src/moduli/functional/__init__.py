"""Mathematics: tensors in, tensors out. No state, no files, no global random numbers."""

from moduli.functional.constant import constant
from moduli.functional.decoders import linear_apart, linear_together, mask_apart
from moduli.functional.dropout import dropout
from moduli.functional.joined import concatenate, stack_padded
from moduli.functional.lstm import masked_lstm
from moduli.functional.merge import soft_merge, soft_merge_common
from moduli.functional.stacked import stacked_linear

__all__ = [
    "concatenate",
    "constant",
    "dropout",
    "linear_apart",
    "linear_together",
    "mask_apart",
    "masked_lstm",
    "soft_merge",
    "soft_merge_common",
    "stack_padded",
    "stacked_linear",
]
