"""Whole networks of the papers, as ordinary `nn.Module`s: a batch of one task in, its outputs out."""

from moduli.modules.networks.digits import DigitConv
from moduli.modules.networks.language import LSTMLanguageModel
from moduli.modules.networks.sequence import DeepBind, TextConv
from moduli.modules.networks.wide_resnet import WideResNet

__all__ = ["DeepBind", "DigitConv", "LSTMLanguageModel", "TextConv", "WideResNet"]
