"""Mathematics: tensors in, tensors out. No state, no files, no global random numbers."""

from moduli.functional.blocks import Blocks, linear_by_blocks
from moduli.functional.channels import channels_last
from moduli.functional.constant import constant
from moduli.functional.decoders import linear_apart, linear_together, mask_apart
from moduli.functional.dropout import dropout
from moduli.functional.focal import focal, focal_weight
from moduli.functional.generate import Sums, generate, generate_blocks
from moduli.functional.joined import concatenate, stack_padded
from moduli.functional.lstm import masked_lstm
from moduli.functional.merge import soft_merge, soft_merge_common
from moduli.functional.self_paced import self_paced_samples, self_paced_tasks
from moduli.functional.stacked import stacked_linear
from moduli.functional.uncertainty import (
    BatchHard,
    batch_hard,
    entropy,
    histogram,
    least_confidence,
    margin,
)

__all__ = [
    "BatchHard",
    "Blocks",
    "Sums",
    "batch_hard",
    "channels_last",
    "concatenate",
    "constant",
    "dropout",
    "entropy",
    "focal",
    "focal_weight",
    "generate",
    "generate_blocks",
    "histogram",
    "least_confidence",
    "linear_apart",
    "linear_by_blocks",
    "linear_together",
    "margin",
    "mask_apart",
    "masked_lstm",
    "self_paced_samples",
    "self_paced_tasks",
    "soft_merge",
    "soft_merge_common",
    "stack_padded",
    "stacked_linear",
]
