"""Decodes an image file to the array that a classifier takes.

The gateway and training use it. `Preprocessing` describes the input of a classifier; the artifact holds it as
`preprocessing.json`.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from models.errors import ArtifactInvalid, InputTooLarge, InvalidInput, is_exhausted
from models.image.decode_memory import DecodeMemory
from models.image.faults import undecodable
from models.image.file_formats import Header, read_header
from models.image.jpeg_decoder import decode_jpeg
from models.image.pillow_decoder import decode_with_pillow

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
# The exceptions that the decoders raise for malformed data (found by fuzzing); MemoryError propagates.
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
# The memory of an image while it is decoded, measured. JPEG: of the pixels after scaling; before it, each value of a
# progressive one takes two bytes.
_BYTES_PER_PIXEL = {"JPEG": 12, "PNG": 8, "GIF": 8, "BMP": 8, "WebP": 20}
_BYTES_PER_COEFFICIENT = 2
_BYTES_PER_TURNED_PIXEL = 4


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The preprocessing of an image for a classifier.

    The shorter side becomes `resize` pixels, then the central `crop` x `crop` square is taken. The classifier itself
    normalises a pixel p in 0..255 to (p / 255 - mean) / std, per channel.
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
    """Read `preprocessing.json` of an artifact's folder. Raise ArtifactInvalid when it is missing or malformed."""
    try:
        return _PREPROCESSING.validate_json((folder / PREPROCESSING_FILE).read_bytes())
    except FileNotFoundError as error:
        raise ArtifactInvalid(f"artifact '{folder.parent.name}:{folder.name}' has no {PREPROCESSING_FILE}") from error
    except ValidationError as error:
        name = f"{folder.parent.name}:{folder.name}"
        raise ArtifactInvalid(f"{PREPROCESSING_FILE} of artifact '{name}' is malformed") from error


class ImageDecoder:
    """Decodes, orients, flattens onto white, scales and crops. Thread-safe; runs without the GIL.

    JPEG files are scaled during decoding by 2, 4 or 8, to at least `margin` times the size that the resize needs;
    `margin=None` decodes them in full size. Threads wait for `memory`, which decoders may share.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        *,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        margin: float | None = 2.0,
        memory: DecodeMemory | None = None,
    ) -> None:
        self.preprocessing = preprocessing
        self.max_pixels = max_pixels
        self.margin = margin
        self.memory = memory or DecodeMemory()

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels (crop, crop, 3) of one image file: JPEG, PNG, WebP, GIF (first frame) or BMP.

        Raise UnsupportedMedia for other formats, InvalidInput when the file is truncated or corrupt, InputTooLarge
        without decoding when its header declares more than `max_pixels` pixels, or needs more than `memory`.
        """
        header = read_header(data)
        if header.width * header.height > self.max_pixels:
            raise InputTooLarge(
                f"the image has {header.width} x {header.height} pixels; at most {self.max_pixels:,} are accepted"
            )
        try:
            with self.memory.reserve(self.decode_bytes(header)):
                if header.format == "JPEG":
                    image = decode_jpeg(data, header, self._min_sides(header))
                else:
                    image = decode_with_pillow(data, header)
                return self._fit(image, header.orientation)
        except Image.DecompressionBombError as error:
            raise InputTooLarge(f"the image has more than {self.max_pixels:,} pixels") from error
        except _DECODER_ERRORS as error:
            if is_exhausted(error):  # Pillow imports modules when it needs them.
                raise
            raise undecodable(data, header, error) from error

    def decode_bytes(self, header: Header) -> int:
        """Return the memory that decoding takes, in addition to the file."""
        height, width = self._min_sides(header) if header.format == "JPEG" else (header.height, header.width)
        size = height * width * _BYTES_PER_PIXEL[header.format]
        if header.orientation in _TRANSPOSED:
            size += height * width * _BYTES_PER_TURNED_PIXEL
        return size + header.height * header.width * header.components * _BYTES_PER_COEFFICIENT

    def fit(self, pixels: Pixels) -> Pixels:
        """Resize and crop pixels (H, W, 3) as those of a file. Raise InvalidInput or InputTooLarge."""
        height, width, _ = pixels.shape
        if not height or not width:
            raise InvalidInput("the image has no pixels")
        if width * height > self.max_pixels:
            raise InputTooLarge(f"the image has {width} x {height} pixels; at most {self.max_pixels:,} are accepted")
        return self._fit(Image.fromarray(pixels), 1)

    def _min_sides(self, header: Header) -> tuple[int, int]:
        """Return the height and width to decode to. Other factors than powers of two reduce agreement."""
        if self.margin is None:
            return header.height, header.width
        required = self.preprocessing.resize * self.margin
        factor = next((f for f in (8, 4, 2) if min(header.width, header.height) / f >= required), 1)
        return math.ceil(header.height / factor), math.ceil(header.width / factor)

    def _fit(self, image: Image.Image, orientation: int) -> Pixels:
        """Resize and crop in one step, which computes only the remaining pixels; the result equals two steps."""
        if orientation in _TRANSPOSED:
            image = image.transpose(_TRANSPOSED[orientation])
        resize, crop = self.preprocessing.resize, self.preprocessing.crop
        width, height = image.size
        shorter = min(width, height)
        # The arithmetic of torchvision: the longer side is truncated to whole pixels, the offsets are rounded.
        scaled = (max(resize, resize * width // shorter), max(resize, resize * height // shorter))
        left, top = (round((side - crop) / 2) for side in scaled)
        scale_x, scale_y = width / scaled[0], height / scaled[1]
        box = (left * scale_x, top * scale_y, min(width, (left + crop) * scale_x), min(height, (top + crop) * scale_y))
        resized = image.resize((crop, crop), _RESAMPLING[self.preprocessing.interpolation], box=box)
        return np.asarray(resized)
