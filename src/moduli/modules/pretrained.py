"""Image encoders from the Hugging Face `transformers` library, pretrained or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from moduli.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class HuggingFaceEncoder(nn.Module):
    """A vision model of `transformers` up to its final pooling: `[B, channels, H, W] -> [B, outputs]`.

    Any model that pools will do: ResNet, RegNet, ConvNeXt, ViT and others. `microsoft/resnet-50` becomes a
    ResNet-50 truncated to its average pooling, with 2048 outputs; it wants images of 224×224, normalised as
    for ImageNet. Everything is trained on, together with the tasks.

    Args:
        source: the name of a model on the Hugging Face hub, or a folder that holds one; or a configuration,
            such as `ResNetConfig(depths=[1, 1, 1, 1])`, for a model with random weights.
        width: a linear layer projects the pooled features to so many outputs; None leaves them as they are.
        pretrained: False gives a named model random weights as well.

    Raises:
        MissingExtra: if `transformers` is not installed.
        InputError: if there is no such model, it cannot be downloaded, or it does not pool.
    """

    def __init__(self, source: str | PretrainedConfig, width: int | None = None, pretrained: bool = True):
        super().__init__()
        self.model = _model(source, pretrained)
        features = _features(self.model.config)
        self.outputs = features if width is None else width
        self.projection = nn.Identity() if width is None else nn.Linear(features, width)
        if isinstance(self.projection, nn.Linear):
            nn.init.xavier_uniform_(self.projection.weight)
            nn.init.zeros_(self.projection.bias)

    def forward(self, images: Tensor) -> Tensor:
        pooled = getattr(self.model(images), "pooler_output", None)
        if pooled is None:
            raise InputError(f"{type(self.model).__name__} does not pool its features: take one that does")
        return self.projection(pooled.flatten(1))


def _model(source: str | PretrainedConfig, pretrained: bool) -> Any:
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError:
        raise MissingExtra("an encoder of Hugging Face", "transformers", "vision") from None
    if not isinstance(source, str):
        return AutoModel.from_config(source)
    try:
        if pretrained:
            return AutoModel.from_pretrained(source)
        return AutoModel.from_config(AutoConfig.from_pretrained(source))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"cannot load the encoder {source!r} ({reason}): check name and network") from None


def _features(config: Any) -> int:
    """How many numbers a model's pooling gives."""
    stages = getattr(config, "hidden_sizes", None)
    return stages[-1] if stages else config.hidden_size
