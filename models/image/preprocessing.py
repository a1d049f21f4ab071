"""From the bytes of an image file to the array that a classifier takes.

Used by whoever holds files: the gateway, and training. Knows no model and no runtime: what a classifier wants is in
`Preprocessing`, which its artifact carries as `preprocessing.json`.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import simplejpeg  # type: ignore[import-untyped]  # a Cython module
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, PngImagePlugin, WebPImagePlugin
from pydantic import TypeAdapter, ValidationError

from models.errors import ArtifactInvalid, InputTooLarge, InvalidInput
from models.image.file_formats import Header, read_header, without_animation

PREPROCESSING_FILE = "preprocessing.json"
DEFAULT_MAX_PIXELS = 50_000_000

Pixels = NDArray[np.uint8]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Opened by class, not by Image.open: that one tries forty formats and warns by process-wide limits.
_OPENERS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}
# Everything that the decoders raise on bytes that are not what they say (fuzzed); MemoryError passes.
_DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, AttributeError,
    OverflowError, NotImplementedError, struct.error, zlib.error,
)  # fmt: skip
_TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHITE = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What is done to an image before a classifier sees it.

    The shorter side becomes `resize` pixels, then the central `crop` x `crop` square is taken. The classifier itself
    turns a pixel p in 0..255 into (p / 255 - mean) / std, by channel.
    """

    resize: int = 256
    crop: int = 224
    interpolation: Interpolation = "bicubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.resize:
            raise ValueError(f"crop is {self.crop}; it must be in 1..resize ({self.resize})")
        if min(self.std) <= 0:
            raise ValueError(f"std is {self.std}; it must be positive")

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.crop, self.crop, 3)


_PREPROCESSING = TypeAdapter(Preprocessing)


def write_preprocessing(preprocessing: Preprocessing, folder: Path) -> None:
    """Write `preprocessing.json` into an artifact's folder."""
    (folder / PREPROCESSING_FILE).write_bytes(_PREPROCESSING.dump_json(preprocessing, indent=2))


def read_preprocessing(folder: Path) -> Preprocessing:
    """Read `preprocessing.json` of an artifact's folder. Raises ArtifactInvalid when it is missing or malformed."""
    try:
        return _PREPROCESSING.validate_json((folder / PREPROCESSING_FILE).read_bytes())
    except FileNotFoundError as error:
        raise ArtifactInvalid(f"artifact '{folder.parent.name}:{folder.name}' has no {PREPROCESSING_FILE}") from error
    except ValidationError as error:
        name = f"{folder.parent.name}:{folder.name}"
        raise ArtifactInvalid(f"{PREPROCESSING_FILE} of artifact '{name}' is malformed") from error


class ImageDecoder:
    """Decodes, turns upright, flattens onto white, scales and crops. Safe from many threads; runs without the GIL.

    JPEG files are scaled while they are decoded, by 2, 4 or 8, to no less than `margin` times what the resize needs;
    `margin=None` decodes them whole.
    """

    def __init__(
        self, preprocessing: Preprocessing, *, max_pixels: int = DEFAULT_MAX_PIXELS, margin: float | None = 2.0
    ) -> None:
        self.preprocessing = preprocessing
        self.max_pixels = max_pixels
        self.margin = margin

    def decode(self, data: bytes) -> Pixels:
        """The pixels (crop, crop, 3) of one image file: JPEG, PNG, WebP, GIF (its first frame) or BMP.

        Raises UnsupportedMedia for anything else, InvalidInput when the file is truncated or corrupt, InputTooLarge
        when its header announces more than `max_pixels` pixels (nothing is decoded then).
        """
        header = read_header(data)
        if header.width * header.height > self.max_pixels:
            raise InputTooLarge(
                f"the image has {header.width} x {header.height} pixels; at most {self.max_pixels:,} are accepted"
            )
        try:
            image = self._decode_jpeg(data, header) if header.format == "JPEG" else _decode_other(data, header)
            return self._fit(image, header.orientation)
        except Image.DecompressionBombError as error:
            raise InputTooLarge(f"the image has more than {self.max_pixels:,} pixels") from error
        except _DECODER_ERRORS as error:
            raise InvalidInput(f"the {header.format} image cannot be decoded: it is truncated or corrupt") from error

    def fit(self, pixels: Pixels) -> Pixels:
        """The same of pixels (H, W, 3): resized and cropped as those of a file. Raises InvalidInput, InputTooLarge."""
        height, width, _ = pixels.shape
        if not height or not width:
            raise InvalidInput("the image has no pixels")
        if width * height > self.max_pixels:
            raise InputTooLarge(f"the image has {width} x {height} pixels; at most {self.max_pixels:,} are accepted")
        return self._fit(Image.fromarray(pixels), 1)

    def _decode_jpeg(self, data: bytes, header: Header) -> Image.Image:
        least = self._least_sides(header)
        if header.components == 4:
            return _ink_to_light(_decode_planes(data, "CMYK", least), header.has_inverted_ink)
        return Image.fromarray(_decode_planes(data, "RGB", least))

    def _least_sides(self, header: Header) -> tuple[int, int]:
        """Height and width to decode to. Powers of two alone: the odd factors cost agreement and gain little."""
        if self.margin is None:
            return header.height, header.width
        enough = self.preprocessing.resize * self.margin
        factor = next((f for f in (8, 4, 2) if min(header.width, header.height) / f >= enough), 1)
        return math.ceil(header.height / factor), math.ceil(header.width / factor)

    def _fit(self, image: Image.Image, orientation: int) -> Pixels:
        """Resize and crop at once: only the pixels that stay are computed. The same as one after the other."""
        if orientation in _TRANSPOSED:
            image = image.transpose(_TRANSPOSED[orientation])
        resize, crop = self.preprocessing.resize, self.preprocessing.crop
        width, height = image.size
        shorter = min(width, height)
        # torchvision's arithmetic: the longer side is cut down to whole pixels, the offsets are rounded.
        scaled = (max(resize, resize * width // shorter), max(resize, resize * height // shorter))
        left, top = (round((side - crop) / 2) for side in scaled)
        across, down = width / scaled[0], height / scaled[1]
        box = (left * across, top * down, min(width, (left + crop) * across), min(height, (top + crop) * down))
        fitted = image.resize((crop, crop), _RESAMPLING[self.preprocessing.interpolation], box=box)
        return np.asarray(fitted)


def _decode_planes(data: bytes, colours: str, least: tuple[int, int]) -> Pixels:
    options = {"min_height": least[0], "min_width": least[1]}
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, colours, strict=True, **options))
    except ValueError as error:
        # libjpeg calls stray bytes between segments corrupt data too; every other reader shrugs at them.
        if "extraneous bytes" not in str(error):
            raise
    return np.asarray(simplejpeg.decode_jpeg(data, colours, strict=False, **options))


def _ink_to_light(ink: Pixels, is_inverted: bool) -> Image.Image:
    return Image.fromarray(255 - ink if is_inverted else ink, "CMYK").convert("RGB")


def _decode_other(data: bytes, header: Header) -> Image.Image:
    if header.format == "PNG":
        data = without_animation(data)
    with _OPENERS[header.format](io.BytesIO(data)) as image:
        if (image.width, image.height) != (header.width, header.height) and header.format != "GIF":
            raise ValueError("the header and the picture differ in size")
        image.load()
        return _flatten(image)


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode to RGB: 16-bit scaled to 8, transparency shown on white."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return _eight_bits(image)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGB", image.size, _WHITE)
        white.paste(layer, mask=layer.getchannel("A"))
        return white
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    deep = np.asarray(image).astype(np.int64)
    shallow = np.clip(deep >> 8, 0, 255).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        shallow[deep == transparent] = 255
    return Image.fromarray(shallow).convert("RGB")
