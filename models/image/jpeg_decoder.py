"""Decodes JPEG with libjpeg-turbo, in full size or reduced by 2, 4 or 8."""

from __future__ import annotations

import io

import numpy as np
import simplejpeg  # type: ignore[import-untyped]  # a Cython module
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from models.image.file_formats import Header, check_scans, picture_segments

# The warnings of libjpeg that are not about damaged pixels, of all in its jerror.h. Other decoders read these files.
_STRAY_BYTES = "extraneous bytes"
_HARMLESS = (
    _STRAY_BYTES,
    "bad ICC marker",
    "unknown JFIF revision",
    "Unknown Adobe color transform",
    "Invalid SOS parameters for sequential JPEG",
)
_UNUSUAL_SAMPLING = "Could not determine subsampling"


def decode_jpeg(data: bytes, header: Header, min_sides: tuple[int, int]) -> Image.Image:
    """Return the picture in RGB, of at least `min_sides` (height, width).

    Raise InvalidInput for too many scans, and ValueError or OSError with libjpeg's message for damaged data.
    """
    check_scans(data)
    try:
        planes = _planes(data, header, min_sides)
    except ValueError as error:
        # The interface of libjpeg-turbo that simplejpeg calls has names for the usual samplings only.
        if _UNUSUAL_SAMPLING not in str(error):
            raise
        return _decode_unusual(picture_segments(data, header.components), header, min_sides)
    if header.components != 4:
        return Image.fromarray(planes)
    return Image.fromarray(255 - planes if header.has_inverted_ink else planes, "CMYK").convert("RGB")


def _planes(data: bytes, header: Header, min_sides: tuple[int, int]) -> NDArray[np.uint8]:
    colours = "CMYK" if header.components == 4 else "RGB"
    try:
        return _read(data, colours, min_sides)
    except ValueError as error:
        if not any(warning in str(error) for warning in _HARMLESS):
            raise
    data = picture_segments(data, header.components)
    try:
        return _read(data, colours, min_sides)
    except ValueError as error:
        if _STRAY_BYTES not in str(error):
            raise
    return _read(data, colours, min_sides, strict=False)


def _read(data: bytes, colours: str, min_sides: tuple[int, int], *, strict: bool = True) -> NDArray[np.uint8]:
    height, width = min_sides
    return np.asarray(simplejpeg.decode_jpeg(data, colours, min_height=height, min_width=width, strict=strict))


def _decode_unusual(data: bytes, header: Header, min_sides: tuple[int, int]) -> Image.Image:
    with JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as image:
        height, width = min_sides
        if (height, width) != (header.height, header.width):
            # Pillow rounds the reduction down: sides that are rounded up would make it the next smaller one.
            image.draft(image.mode, (width - 1, height - 1))
        return image.convert("RGB")
