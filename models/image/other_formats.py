"""Names of the formats that are not read, for the message to the sender of such a file."""

from __future__ import annotations

from typing import Final

# Signatures at the start of a file.
_SIGNATURES: Final = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\1\0": "ICO",
    b"8BPS": "Photoshop",
    b"%PDF-": "PDF",
    b"%!PS": "PostScript",
}
# Brands of files of ISO 14496-12, the first that matches: AVIF files may name HEIF's brands too.
_BRANDS: Final = {
    "AVIF": frozenset({b"avif", b"avis"}),
    "HEIC": frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}),
    "Video": frozenset({b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V "}),
}
_MAX_BRANDS = 64
_SVG_WITHIN = 1024


def other_format(data: bytes) -> str | None:
    """Return the name of a known format that is not read, or None."""
    if data[4:8] == b"ftyp":
        length = min(int.from_bytes(data[:4], "big"), 4 * _MAX_BRANDS)
        brands = {data[at : at + 4] for at in (8, *range(16, length, 4))}
        return next((name for name, known in _BRANDS.items() if brands & known), None)
    for signature, name in _SIGNATURES.items():
        if data.startswith(signature):
            return name
    is_markup = data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
    return "SVG" if is_markup and b"<svg" in data[:_SVG_WITHIN] else None
