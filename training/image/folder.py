"""Read a folder with one folder of images per class: files, fingerprint, split and pixels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
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
from models.store.manifest import file_sha256
from training.image.class_folders import find_class_folders
from training.report import console, note

_SHOWN_FAULTS = 20


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """Files and their classes: `of[i]` is the index in `classes` of the class of `files[i]`.

    `is_held_out[i]`: whether the folder itself holds the file out; None where training has to split the files.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    of: NDArray[np.int64]
    source: DataSource
    is_held_out: NDArray[np.bool_] | None = None

    def split(self, *, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the indices of training and validation images: the split of the folder, or a stratified one."""
        if self.is_held_out is None:
            return split(self.of, share=share, seed=seed)
        return np.flatnonzero(~self.is_held_out), np.flatnonzero(self.is_held_out)


def read_image_folder(root: Path) -> ImageFolder:
    """List a folder with one folder per class, or with the parts of a split, such as `train` and `val`.

    Raises DataInvalid when it has fewer than two classes, or a class without an image to train on and one to validate.
    """
    if not root.is_dir():
        raise DataInvalid(f"--data: there is no folder '{root.name}'")
    found = find_class_folders(root)
    classes = tuple(found.seen)
    if len(classes) == 1:
        raise DataInvalid(f"'{root.name}' holds one class, '{classes[0]}'; a classifier needs at least two")
    parts = (found.seen,) if found.held_out is None else (found.seen, found.held_out)
    for part in parts:
        _check_counts(part, least=2 // len(parts))
    rows = [(path, index) for part in parts for index, name in enumerate(classes) for path in part[name]]
    files, of = tuple(path for path, _ in rows), np.array([index for _, index in rows])
    hashes = [file_sha256(path) for path in files]
    lines = (f"{path.relative_to(root).as_posix()}\0{sha256}\n" for path, sha256 in zip(files, hashes, strict=True))
    source = DataSource(root.resolve().name, hashlib.sha256("".join(lines).encode()).hexdigest(), len(files))
    if found.held_out is None:
        return ImageFolder(root, classes, files, of, source)
    seen = sum(map(len, found.seen.values()))
    if repeated := len(set(hashes[:seen]) & set(hashes[seen:])):
        note(f"warning: images in both parts of the split: {repeated:,}; they make the scores too good")
    return ImageFolder(root, classes, files, of, source, is_held_out=np.arange(len(files)) >= seen)


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


def _check_counts(images: Mapping[str, Sequence[Path]], *, least: int) -> None:
    for name, files in images.items():
        if len(files) < least:
            need = "2 images, to train on and to validate," if least == 2 else "an image in each part of the split"
            raise DataInvalid(f"class '{name}' needs at least {need} and has {len(files)}")


def _message(faults: Sequence[str]) -> str:
    shown = "\n  ".join(faults[:_SHOWN_FAULTS])
    more = f"\n  and {len(faults) - _SHOWN_FAULTS:,} more" if len(faults) > _SHOWN_FAULTS else ""
    return f"{len(faults):,} of the files cannot be used; repair or remove them:\n  {shown}{more}"
