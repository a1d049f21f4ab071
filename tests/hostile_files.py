"""Hostile uploads, for tests: small files that are expensive to read, and damaged ones. Every maker returns bytes.

`CORPUS` has all of them by name, each with its content type and a function without arguments that makes it. `ARCHIVES`
are for `POST /v1/images/jobs`, `TABLES` for `POST /v1/tabular/jobs` (the columns may be any), `IMAGES` for `POST
/v1/images/classify`. The sizes in `CORPUS` take at most a second to make; the makers take larger ones.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

Made = tuple[str, Callable[[], bytes]]

_MIB: Final = 1 << 20
_BLOCK: Final = 512
# The largest square of at most 50,000,000 pixels, which is the default limit.
SIDE: Final = 7071


def tar_of_pax_digits(digits: int = 80_000) -> bytes:
    """Return a tar.gz whose PAX header is digits: CVE-2024-6232, a quadratic regular expression."""
    return gzip.compress(_tar_entry("pax", tarfile.XHDTYPE, b"1" * digits) + _tar_entry("a.png", tarfile.REGTYPE, b"x"))


def tar_of_long_name(characters: int = 64 * _MIB) -> bytes:
    """Return a tar.gz with a file name of many characters, in a GNU header."""
    return gzip.compress(_tar_entry("././@LongLink", tarfile.GNUTYPE_LONGNAME, b"a" * characters), 1)


def tar_of_folders(number: int = 50_000) -> bytes:
    """Return a tar.gz of empty folders: they have no content that a limit could count."""
    thousand = gzip.compress(_tar_entry("d/", tarfile.DIRTYPE, b"") * 1000)
    return thousand * (number // 1000)


def tar_of_zeros(mebibytes: int = 2048) -> bytes:
    """Return a tar.gz with one file of zeros."""
    head = gzip.compress(_tar_header("zeros.png", tarfile.REGTYPE, mebibytes * _MIB))
    return head + gzip.compress(bytes(16 * _MIB), 1) * (mebibytes // 16)


def tar_of_skipped_zeros(files: int = 200, mebibytes: int = 16) -> bytes:
    """Return a tar.gz of files that are each a little larger than the limit of one item."""
    member = _tar_header("zeros.png", tarfile.REGTYPE, mebibytes * _MIB + _BLOCK) + bytes(mebibytes * _MIB + _BLOCK)
    return gzip.compress(member, 1) * files


def tar_with_damaged_header() -> bytes:
    """Return a tar whose second header is damaged: a reader that stops there loses the files after it."""
    files = [_tar_entry(f"{number}.png", tarfile.REGTYPE, b"x") for number in range(3)]
    return files[0] + b"\xff" * _BLOCK + b"".join(files[1:]) + bytes(2 * _BLOCK)


def tar_bz2_of_zeros(mebibytes: int = 64) -> bytes:
    """Return a tar.bz2 with one file of zeros, which some readers unpack in one piece."""
    return bz2.compress(_tar_header("zeros.png", tarfile.REGTYPE, mebibytes * _MIB) + bytes(mebibytes * _MIB))


def tar_xz_of_zeros(mebibytes: int = 16) -> bytes:
    """Return a tar.xz with one file of zeros."""
    data = _tar_header("zeros.png", tarfile.REGTYPE, mebibytes * _MIB) + bytes(mebibytes * _MIB)
    return lzma.compress(data, preset=0)


def zip_of_one_member(method: int, mebibytes: int = 64) -> bytes:
    """Return a zip with one member of zeros, compressed by `method` of the module zipfile."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method, compresslevel=1) as archive:
        archive.writestr("zeros.png", bytes(mebibytes * _MIB))
    return buffer.getvalue()


def zip_of_overlapping_members(members: int = 300, member_bytes: int = 16 * _MIB + 1) -> bytes:
    """Return a zip whose members are all the same data, each of `member_bytes`: 40 KB unpack to 5 GB."""
    name = b"a"
    data = _deflated(bytes(member_bytes))
    sizes = struct.pack("<III", zlib.crc32(bytes(member_bytes)), len(data), member_bytes)
    shared = struct.pack("<HHHHH", 20, 0, zipfile.ZIP_DEFLATED, 0, 0) + sizes + struct.pack("<HH", len(name), 0)
    local = b"PK\x03\x04" + shared + name + data
    entry = b"PK\x01\x02" + struct.pack("<H", 20) + shared + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    end = struct.pack("<HHHHIIH", 0, 0, members, members, len(entry) * members, len(local), 0)
    return local + entry * members + b"PK\x05\x06" + end


def zip_of_false_sizes(mebibytes: int = 64) -> bytes:
    """Return a zip whose only member states that it has one byte."""
    size = struct.pack("<I", mebibytes * _MIB)
    return zip_of_one_member(zipfile.ZIP_DEFLATED, mebibytes).replace(size, struct.pack("<I", 1))


def zip_of_many_members(members: int = 20_000) -> bytes:
    """Return a zip of empty members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(members):
            archive.writestr(zipfile.ZipInfo(f"{number:x}"), b"")
    return buffer.getvalue()


def csv_of_columns(columns: int = 52_000) -> bytes:
    """Return a CSV header of different names, and a row."""
    names = ",".join(f"c{number:x}" for number in range(columns))
    return f"{names}\n{'1,' * (columns - 1)}1\n".encode()


def csv_of_open_record(cells: int = 4_000_000) -> bytes:
    """Return a CSV file that is one record: every cell has a line break."""
    return b'"\n",' * cells


def csv_of_open_quote(mebibytes: int = 32) -> bytes:
    """Return a CSV file with a quoted cell that never ends."""
    return b'"' + b"a" * 1023 + (b"\n" + b"a" * 1023) * (mebibytes * 1024)


def csv_of_commas(rows: int = 16) -> bytes:
    """Return a CSV file of rows that are a million empty cells."""
    return b"a,b\n" + (b"," * (_MIB - 2) + b"\n") * rows


def csv_of_quotes(rows: int = 16) -> bytes:
    """Return a CSV file of cells that are half a million escaped quotes."""
    return b"a,b\n" + (b'"' * (_MIB - 4) + b",1\n") * rows


def csv_of_digits(rows: int = 16) -> bytes:
    """Return a CSV file of cells that are a million digits."""
    return b"a,b\n" + (b"1" * (_MIB - 4) + b",1\n") * rows


def ndjson_of_fields(fields: int = 60_000, lines: int = 8) -> bytes:
    """Return lines of JSON objects with many unknown fields."""
    return (b"{" + b",".join(b'"f%x":0' % number for number in range(fields)) + b"}\n") * lines


def ndjson_of_equal_fields(fields: int = 150_000, lines: int = 8) -> bytes:
    """Return lines of JSON objects with the same field many times."""
    return (b"{" + b",".join([b'"a":0'] * fields) + b"}\n") * lines


def ndjson_of_nesting(depth: int = 500_000, lines: int = 8) -> bytes:
    """Return lines of arrays inside arrays."""
    return (b'{"a":' + b"[" * depth + b"]" * depth + b"}\n") * lines


def parquet_of_columns(columns: int = 20_000) -> bytes:
    """Return a Parquet file of many columns and one row."""
    return _parquet({f"c{number:x}": [1] for number in range(columns)}, 1)


def parquet_of_row_groups(groups: int = 10_000) -> bytes:
    """Return a Parquet file with one row in each group."""
    return _parquet({"a": [1] * groups}, 1)


def parquet_of_large_text(name: str = "a", mebibytes: int = 4, rows: int = 256) -> bytes:
    """Return a Parquet file of one long text, which every row repeats."""
    import pyarrow

    text = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * rows, pyarrow.int32()), ["x" * (mebibytes * _MIB)])
    return _parquet({name: text}, rows)


def parquet_of_long_list(name: str = "a", values: int = 20_000_000) -> bytes:
    """Return a Parquet file with one row, which is a list of many equal numbers."""
    import pyarrow

    numbers = pyarrow.nulls(values, pyarrow.int64()).fill_null(1)
    return _parquet({name: pyarrow.ListArray.from_arrays(pyarrow.array([0, values], pyarrow.int32()), numbers)}, 1)


def png(mode: str, side: int = SIDE) -> bytes:
    """Return a black square as a PNG. `mode` is one of Pillow, such as `L`, `RGB`, `RGBA`, or `I;16`, `LA;16`..."""
    depth = 16 if mode.endswith(";16") else 8
    colour_type, channels = {"L": (0, 1), "I": (0, 1), "RGB": (2, 3), "LA": (4, 2), "RGBA": (6, 4)}[mode.split(";")[0]]
    row_bytes = 1 + side * channels * depth // 8
    header = struct.pack(">IIBBBBB", side, side, depth, colour_type, 0, 0, 0)
    return png_of((b"IHDR", header), (b"IDAT", _zlib_zeros(row_bytes * side)), (b"IEND", b""))


def png_of_transparent_palette(side: int = SIDE) -> bytes:
    """Return a PNG with a palette and transparency."""
    header = struct.pack(">IIBBBBB", side, side, 8, 3, 0, 0, 0)
    data = (b"IDAT", _zlib_zeros((1 + side) * side))
    return png_of((b"IHDR", header), (b"PLTE", bytes(768)), (b"tRNS", bytes(128)), data, (b"IEND", b""))


def png_of_transparent_colour(side: int = SIDE) -> bytes:
    """Return a PNG of 16-bit colours with a transparent one, whose lower bytes are decoded separately."""
    header = struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0)
    return png_of((b"IHDR", header), (b"tRNS", bytes(6)), (b"IDAT", _zlib_zeros((1 + side * 6) * side)), (b"IEND", b""))


def png_of_profiles(number: int = 8_000) -> bytes:
    """Return a PNG of one pixel with many colour profiles, each of which unpacks to a mebibyte."""
    profile = b"p\0\0" + zlib.compress(bytes(_MIB - 1), 9)
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = (b"IDAT", zlib.compress(bytes(4)))
    return png_of((b"IHDR", header), *([(b"iCCP", profile)] * number), pixel, (b"IEND", b""))


def png_of_chunks(number: int = 1_000_000) -> bytes:
    """Return a PNG of one pixel with many empty chunks."""
    start = png_of((b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)))
    empty = png_of((b"teXt", b""))[8:]
    return start + empty * number + png_of((b"IDAT", zlib.compress(bytes(4))), (b"IEND", b""))[8:]


def jpeg_of_scans(scans: int = 20_000, side: int = 4096) -> bytes:
    """Return a progressive JPEG of one colour with many scans, each of which visits every block of the image."""
    whole = _image("JPEG", side, mode="L", progressive=True, quality=10)
    start = whole.rindex(b"\xff\xda")
    last = whole[start:-2]
    return whole[:-2] + last * scans + whole[-2:]


def jpeg_of_unusual_sampling(side: int = 6001) -> bytes:
    """Return a JPEG whose chroma has an eighth of the values of its luma, which libjpeg-turbo has no name for."""
    whole = _image("JPEG", side)
    frame = whole.index(b"\xff\xc0")
    return whole[: frame + 11] + b"\x42" + whole[frame + 12 :]


def jpeg_of_fill_bytes(mebibytes: int = 15) -> bytes:
    """Return a JPEG with megabytes of fill bytes between two segments."""
    whole = _image("JPEG", 8)
    return whole[:2] + b"\xff" * (mebibytes * _MIB) + whole[2:]


def gif_of_extensions(mebibytes: int = 15) -> bytes:
    """Return a GIF with megabytes of comments of one byte."""
    whole = _image("GIF", 8)
    flags = whole[10]
    start = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    return whole[:start] + b"\x21\xfe" + b"\x01a" * (mebibytes * _MIB // 2) + b"\0" + whole[start:]


def bmp_of_runs(side: int = SIDE) -> bytes:
    """Return a BMP that is compressed in runs of one byte, which some readers unpack in Python."""
    runs = (b"\x01\x00" * side + b"\0\0") * min(side, 8 * _MIB // side) + b"\0\1"
    info = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), 0, 0, 256, 0)
    start = 14 + len(info) + 1024
    return b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + info + bytes(1024) + runs


def webp(side: int = SIDE, *, mode: str = "RGBA") -> bytes:
    """Return a square as a WebP."""
    return _image("WEBP", side, mode=mode, method=0, quality=1)


def gif(side: int = SIDE) -> bytes:
    """Return a black square as a GIF."""
    return _image("GIF", side, mode="P")


def gif_of_small_frame(side: int = SIDE) -> bytes:
    """Return a GIF with a screen that is much larger than its frame."""
    whole = _image("GIF", 8)
    return whole[:6] + struct.pack("<HH", side, side) + whole[10:]


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of chunks, each of its type and its content."""
    parts = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _tar_header(name: str, kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def _tar_entry(name: str, kind: bytes, data: bytes) -> bytes:
    return _tar_header(name, kind, len(data)) + data + bytes(-len(data) % _BLOCK)


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(data) + packer.flush()


def _zlib_zeros(size: int) -> bytes:
    packer = zlib.compressobj(1)
    pieces: Iterable[int] = [_MIB] * (size // _MIB) + [size % _MIB]
    return b"".join(packer.compress(bytes(piece)) for piece in pieces) + packer.flush()


def _parquet(columns: Mapping[str, object], rows: int) -> bytes:
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(dict(columns)), buffer, compression="zstd", row_group_size=rows)
    return buffer.getvalue()


def _image(kind: str, side: int, *, mode: str = "RGB", **options: object) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new(mode, (side, side)).save(buffer, kind, **options)
    return buffer.getvalue()


_ZIP, _TAR, _GZIP = "application/zip", "application/x-tar", "application/gzip"
_CSV, _NDJSON, _PARQUET = "text/csv", "application/x-ndjson", "application/vnd.apache.parquet"

ARCHIVES: Final[Mapping[str, Made]] = {
    "tar.gz: PAX header of digits": (_GZIP, tar_of_pax_digits),
    "tar.gz: name of 64 MiB": (_GZIP, tar_of_long_name),
    "tar.gz: 50,000 folders": (_GZIP, tar_of_folders),
    "tar.gz: 2 GiB of zeros": (_GZIP, tar_of_zeros),
    "tar.gz: files over the item limit": (_GZIP, tar_of_skipped_zeros),
    "tar: damaged header": (_TAR, tar_with_damaged_header),
    "tar.bz2: zeros": (_TAR, tar_bz2_of_zeros),
    "tar.xz: zeros": (_TAR, tar_xz_of_zeros),
    "zip: bzip2": (_ZIP, partial(zip_of_one_member, zipfile.ZIP_BZIP2)),
    "zip: lzma": (_ZIP, partial(zip_of_one_member, zipfile.ZIP_LZMA, 16)),
    "zip: deflate": (_ZIP, partial(zip_of_one_member, zipfile.ZIP_DEFLATED)),
    "zip: overlapping members": (_ZIP, zip_of_overlapping_members),
    "zip: false sizes": (_ZIP, zip_of_false_sizes),
    "zip: 20,000 members": (_ZIP, zip_of_many_members),
}
TABLES: Final[Mapping[str, Made]] = {
    "csv: 52,000 columns": (_CSV, csv_of_columns),
    "csv: one record": (_CSV, csv_of_open_record),
    "csv: open quote": (_CSV, csv_of_open_quote),
    "csv: commas": (_CSV, csv_of_commas),
    "csv: quotes": (_CSV, csv_of_quotes),
    "csv: digits": (_CSV, csv_of_digits),
    "ndjson: unknown fields": (_NDJSON, ndjson_of_fields),
    "ndjson: equal fields": (_NDJSON, ndjson_of_equal_fields),
    "ndjson: nesting": (_NDJSON, ndjson_of_nesting),
    "parquet: 20,000 columns": (_PARQUET, parquet_of_columns),
    "parquet: 10,000 row groups": (_PARQUET, parquet_of_row_groups),
    "parquet: large text": (_PARQUET, parquet_of_large_text),
    "parquet: long list": (_PARQUET, parquet_of_long_list),
}
IMAGES: Final[Mapping[str, Made]] = {
    "png: 16-bit grey": ("image/png", partial(png, "I;16")),
    "png: 16-bit grey with alpha": ("image/png", partial(png, "LA;16")),
    "png: RGBA": ("image/png", partial(png, "RGBA")),
    "png: RGB": ("image/png", partial(png, "RGB")),
    "png: transparent palette": ("image/png", png_of_transparent_palette),
    "png: transparent 16-bit colour": ("image/png", png_of_transparent_colour),
    "png: colour profiles": ("image/png", png_of_profiles),
    "png: chunks": ("image/png", png_of_chunks),
    "jpeg: scans": ("image/jpeg", jpeg_of_scans),
    "jpeg: unusual sampling": ("image/jpeg", jpeg_of_unusual_sampling),
    "jpeg: fill bytes": ("image/jpeg", jpeg_of_fill_bytes),
    "gif: extensions": ("image/gif", gif_of_extensions),
    "bmp: runs": ("image/bmp", bmp_of_runs),
    "webp: RGBA": ("image/webp", partial(webp, 4096)),
    "gif: palette": ("image/gif", gif),
    "gif: small frame": ("image/gif", gif_of_small_frame),
}
CORPUS: Final[Mapping[str, Made]] = {**ARCHIVES, **TABLES, **IMAGES}
