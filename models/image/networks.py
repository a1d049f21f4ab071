"""The networks of image classifiers: EfficientNet-Lite0 and the classifiers of torchvision.

Networks are built with random weights; an artifact or training supplies the weights. `PixelClassifier` adds
normalisation and softmax: uint8 pixels in, probabilities out. Only training and serving on a GPU import this module.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from models.errors import InvalidInput
from models.image import torchvision_ops

torchvision_ops.declare()

from torchvision import models as torchvision_models  # noqa: E402  (after the schemas)
from torchvision.ops import Conv2dNormActivation  # noqa: E402

LITE0 = "efficientnet_lite0"
_BN_EPS = 1e-3
# The table of EfficientNet-B0 without squeeze-and-excitation: expansion, kernel, stride, channels, layers.
_LITE0_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class SamePadding(nn.Module):
    """Zero padding as TensorFlow's "SAME": an odd pixel goes to the bottom and right."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        height, width = self._padding(int(x.shape[-2])), self._padding(int(x.shape[-1]))
        return nn.functional.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))

    def _padding(self, size: int) -> int:
        outputs = -(-size // self.stride)
        return max(0, (outputs - 1) * self.stride + self.kernel - size)


class LiteBlock(nn.Module):
    """The inverted residual block of EfficientNet-Lite: expand, depthwise convolution, project; ReLU6, no attention."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_conv(inputs, hidden, kernel=1))
        layers += [_conv(hidden, hidden, kernel=kernel, stride=stride, groups=hidden)]
        layers += [_conv(hidden, outputs, kernel=1, activation=None)]
        self.layers = nn.Sequential(*layers)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.is_residual else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 (Liu, 2020). Its tensors are in the order of the published weights."""

    def __init__(self, num_classes: int = 1000, dropout: float = 0.2) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, 32, kernel=3, stride=2)]
        channels = 32
        for expansion, kernel, stride, outputs, count in _LITE0_STAGES:
            for index in range(count):
                step = stride if index == 0 else 1
                layers.append(LiteBlock(channels, outputs, expansion=expansion, kernel=kernel, stride=step))
                channels = outputs
        layers.append(_conv(channels, 1280, kernel=1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(1280, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return logits


class PixelClassifier(nn.Module):
    """A network with normalisation and softmax: uint8 pixels (N, H, W, 3) to float32 probabilities (N, C).

    Normalisation runs in float32, the network in `dtype`, softmax in float32.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype
        # (p / 255 - mean) / std as one multiplication and one addition.
        self.register_buffer("scale", torch.tensor([1 / (255 * s) for s in std]).view(1, 3, 1, 1))
        self.register_buffer("shift", torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.softmax(self.logits(pixels).float(), dim=1)

    def logits(self, pixels: Tensor) -> Tensor:
        """Return the inputs of softmax, (N, C)."""
        planes = pixels.permute(0, 3, 1, 2).to(torch.float32) * self.scale + self.shift
        logits: Tensor = self.network(planes.to(self.dtype))
        return logits


class ClassifierWithEmbedding(nn.Module):
    """A `PixelClassifier` that also returns embeddings, float32 (N, D): the inputs of the last linear layer.

    Raise InvalidInput for a network without a last linear layer that takes one vector per image.
    """

    def __init__(self, model: PixelClassifier) -> None:
        super().__init__()
        self.model = model
        self._head_inputs: list[Tensor] = []
        classification_head(model.network).register_forward_pre_hook(
            lambda head, inputs: self._head_inputs.append(inputs[0])
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self._head_inputs.clear()
        probabilities = self.model(pixels)
        embedding = self._head_inputs[-1] if self._head_inputs else probabilities.new_zeros(0)
        self._head_inputs.clear()
        if embedding.dim() != 2 or len(embedding) != len(pixels):
            raise InvalidInput("the last linear layer of this network does not take one vector per image")
        return probabilities, embedding.float()


def known_networks() -> tuple[str, ...]:
    """List the names that `build_network` accepts: EfficientNet-Lite0 and the image classifiers of torchvision."""
    return (LITE0, *torchvision_models.list_models(module=torchvision_models))


def build_network(name: str, classes: int) -> nn.Module:
    """Build a network with random weights and `classes` outputs. Raise InvalidInput, listing the known names."""
    if name == LITE0:
        return EfficientNetLite0(classes)
    if name not in known_networks():
        raise InvalidInput(f"unknown network '{name}'; known: {', '.join(known_networks())}")
    options = {"init_weights": True, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    network: nn.Module = torchvision_models.get_model(name, weights=None, num_classes=classes, **options)
    return network


def classification_head(network: nn.Module) -> nn.Linear:
    """Return the last linear layer, which fine-tuning trains first."""
    linears = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linears:
        raise InvalidInput("the network has no linear layer, so it cannot be fine-tuned")
    return linears[-1]


def _conv(
    inputs: int,
    outputs: int,
    *,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU6,
) -> nn.Sequential:
    convolution = Conv2dNormActivation(
        inputs,
        outputs,
        kernel_size=kernel,
        stride=stride,
        padding=0 if stride > 1 else kernel // 2,
        groups=groups,
        norm_layer=partial(nn.BatchNorm2d, eps=_BN_EPS, momentum=0.01),
        activation_layer=activation,
    )
    return nn.Sequential(SamePadding(kernel, stride), *convolution) if stride > 1 else convolution
