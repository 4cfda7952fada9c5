"""Pseudo-task augmentation: several decoders for each task, and their control."""

from moduli.pseudotasks.augment import augment
from moduli.pseudotasks.bank import DecoderBank, DecoderControl
from moduli.pseudotasks.control import PTA
from moduli.pseudotasks.task import TaskDecoders

__all__ = ["PTA", "DecoderBank", "DecoderControl", "TaskDecoders", "augment"]
