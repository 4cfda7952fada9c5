"""Building blocks: layers that can stand in a pool, and encoders and decoders at the two ends of a task."""

from moduli.modules.alias import Aliases
from moduli.modules.bank import LinearBank
from moduli.modules.conv import Conv, PadChannels
from moduli.modules.dense import Dense
from moduli.modules.each import Each, named_state
from moduli.modules.pretrained import HuggingFaceEncoder
from moduli.modules.text import LSTM

__all__ = [
    "LSTM",
    "Aliases",
    "Conv",
    "Dense",
    "Each",
    "HuggingFaceEncoder",
    "LinearBank",
    "PadChannels",
    "named_state",
]
