"""Decodes PNG, WebP, GIF and BMP with Pillow, and flattens them onto white."""

from __future__ import annotations

import io

import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, PngImagePlugin, WebPImagePlugin

from models.errors import InvalidInput
from models.image import png
from models.image.file_formats import Format, Header, first_frame, gif_frame, webp_picture

# Opened by class: Image.open tries forty formats and warns by process-wide limits.
_OPENERS: dict[Format, type[ImageFile.ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}
_WHITE = (255, 255, 255)
# Rows are converted in strips: a conversion holds the GIL, and takes several times the memory of its pixels.
_STRIP_PIXELS = 1 << 18


def decode_with_pillow(data: bytes, header: Header) -> Image.Image:
    """Return the picture in RGB. Raise InvalidInput, and what Pillow raises for damaged data."""
    if header.format == "PNG":
        return _decode_png(data, header)
    if header.format == "GIF":
        return _decode_gif(data, header)
    return _flatten(_loaded(webp_picture(data) if header.format == "WebP" else data, header))


def _loaded(data: bytes, header: Header) -> Image.Image:
    with _OPENERS[header.format](io.BytesIO(data)) as image:
        if (image.width, image.height) != (header.width, header.height) and header.format != "GIF":
            raise InvalidInput(
                f"the {header.format} image cannot be decoded: its header states {header.width} x {header.height} "
                f"pixels, and its data has {image.width} x {image.height}"
            )
        image.load()
        return image


def _decode_png(data: bytes, header: Header) -> Image.Image:
    data = png.pixel_chunks(data)
    image = _loaded(data, header)
    transparent = png.transparent_samples(data)
    if transparent is None:
        return _flatten(image)
    if image.mode == "RGB" and png.depth(data) == 16:
        del image.info["transparency"]
        _whiten(image, _low_bytes(data), transparent)
    elif image.mode == "L":
        # Pillow stretches samples of 2 and 4 bits to 8, and leaves the transparent one as it is.
        image.info["transparency"] = transparent[0] * 255 // ((1 << png.depth(data)) - 1)
    return _flatten(image)


def _low_bytes(data: bytes) -> Image.Image:
    """Return the lower eight bits of samples of 16, in RGB: as the upper ones of the other byte order."""
    with PngImagePlugin.PngImageFile(io.BytesIO(data)) as image:
        image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
        image.load()
        return image


def _whiten(high: Image.Image, low: Image.Image, colour: tuple[int, ...]) -> None:
    """Make the pixels of `colour`, in 16 bits, white."""
    upper, lower = (np.array(colour) >> 8).astype(np.uint8), (np.array(colour) & 255).astype(np.uint8)
    for box in _strips(high):
        pixels = np.array(high.crop(box))
        pixels[((pixels == upper) & (np.asarray(low.crop(box)) == lower)).all(axis=2)] = 255
        high.paste(Image.fromarray(pixels), box)


def _decode_gif(data: bytes, header: Header) -> Image.Image:
    image = _flatten(_loaded(first_frame(data), header))
    left, top, right, bottom = gif_frame(data)
    width, height = image.size
    # The screen outside the first frame is transparent.
    for box in ((0, 0, width, top), (0, bottom, width, height), (0, 0, left, height), (right, 0, width, height)):
        image.paste(_WHITE, box)
    return image


def _flatten(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB, strip by strip: scale 16 bits to 8, compose transparency on white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    flat = Image.new("RGB", image.size)
    for box in _strips(image):
        flat.paste(_flat_strip(image.crop(box)), box)
    return flat


def _strips(image: Image.Image) -> list[tuple[int, int, int, int]]:
    rows = max(1, _STRIP_PIXELS // image.width)
    return [(0, top, image.width, min(image.height, top + rows)) for top in range(0, image.height, rows)]


def _flat_strip(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        return _to_eight_bits(image)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGB", image.size, _WHITE)
        white.paste(layer, mask=layer.getchannel("A"))
        return white
    return image.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    pixels = np.clip(values >> 8, 0, 255).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        pixels[values == transparent] = 255
    return Image.fromarray(pixels).convert("RGB")
