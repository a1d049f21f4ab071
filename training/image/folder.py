"""Read a folder with one folder of images per class: files, fingerprint, split and pixels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from models.card import DataSource
from models.cores import usable_cores
from models.errors import DataInvalid, InputError
from models.image.preprocessing import ImageDecoder, Pixels, Preprocessing
from models.store.artifacts import file_sha256
from training.report import console

# Files that desktops leave in folders of images.
_IGNORED = frozenset({"thumbs.db", "desktop.ini"})
_SHOWN_FAULTS = 20


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """Files and their classes: `of[i]` is the index in `classes` of the class of `files[i]`."""

    root: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    of: NDArray[np.int64]
    source: DataSource


def read_image_folder(root: Path) -> ImageFolder:
    """List a folder with one folder per class and images at any depth. Hidden files are ignored.

    Raises DataInvalid when it has fewer than two classes, or a class with fewer than two images.
    """
    if not root.is_dir():
        raise DataInvalid(f"--data: there is no folder '{root.name}'")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise DataInvalid(f"'{root.name}' holds no folder; one folder per class is expected, with images in it")
    if len(folders) == 1:
        raise DataInvalid(f"'{root.name}' holds one class, '{folders[0].name}'; a classifier needs at least two")
    files: list[Path] = []
    of: list[int] = []
    for index, folder in enumerate(folders):
        images = sorted(path for path in folder.rglob("*") if path.is_file() and not _is_ignored(path, root))
        if len(images) < 2:
            raise DataInvalid(
                f"class '{folder.name}' needs at least 2 images, to train on and to validate, and has {len(images)}"
            )
        files += images
        of += [index] * len(images)
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(root).as_posix()}\0{file_sha256(path)}\n".encode())
    source = DataSource(name=root.resolve().name, sha256=digest.hexdigest(), rows=len(files))
    return ImageFolder(root, tuple(folder.name for folder in folders), tuple(files), np.array(of), source)


def split(of: NDArray[np.int64], *, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of training and validation images: of each class `share` is validated, at least one and never
    all.

    scikit-learn's stratified split does not guarantee both for every class of an unbalanced folder.
    """
    random = np.random.default_rng(seed)
    seen, held_out = [], []
    for index in range(int(of.max()) + 1):
        rows = random.permutation(np.flatnonzero(of == index))
        count = min(len(rows) - 1, max(1, round(share * len(rows))))
        held_out.append(rows[:count])
        seen.append(rows[count:])
    return np.sort(np.concatenate(seen)), np.sort(np.concatenate(held_out))


def decode_files(folder: ImageFolder, rows: Sequence[int], preprocessing: Preprocessing, cache: Path) -> Pixels:
    """Return pixels (N, H, W, 3) of some files, decoded as serving does and cached in the file `cache`.

    They are memory-mapped, so that they need not fit into memory. Raises DataInvalid with the unreadable files.
    """
    shape = (len(rows), *preprocessing.shape)
    if cache.is_file():
        cached: Pixels = np.load(cache, mmap_mode="r", allow_pickle=False)
        if cached.shape == shape:
            return cached
    cache.parent.mkdir(parents=True, exist_ok=True)
    unfinished = cache.with_suffix(".part")
    pixels = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=shape)
    decoder = ImageDecoder(preprocessing)

    def decode(row: int) -> Pixels | str:
        path = folder.files[row]
        try:
            return decoder.decode(path.read_bytes())
        except (InputError, OSError) as error:
            reason = error if isinstance(error, InputError) else "it cannot be read"
            return f"'{path.relative_to(folder.root).as_posix()}': {reason}"

    faults: list[str] = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        decoded = pool.map(decode, rows)
        for index, image in enumerate(track(decoded, "decode", total=len(rows), console=console, transient=True)):
            if isinstance(image, str):
                faults.append(image)
            else:
                pixels[index] = image
    if faults:
        unfinished.unlink()
        raise DataInvalid(_message(faults))
    pixels.flush()
    os.replace(unfinished, cache)
    done: Pixels = np.load(cache, mmap_mode="r", allow_pickle=False)
    return done


def uncropped(preprocessing: Preprocessing) -> Preprocessing:
    """Return the same preprocessing with the whole shorter side as crop, from which augmentation crops."""
    return replace(preprocessing, crop=preprocessing.resize)


def _is_ignored(path: Path, root: Path) -> bool:
    return path.name.lower() in _IGNORED or any(part.startswith(".") for part in path.relative_to(root).parts)


def _message(faults: Sequence[str]) -> str:
    shown = "\n  ".join(faults[:_SHOWN_FAULTS])
    more = f"\n  and {len(faults) - _SHOWN_FAULTS:,} more" if len(faults) > _SHOWN_FAULTS else ""
    return f"{len(faults):,} of the files cannot be used; repair or remove them:\n  {shown}{more}"
