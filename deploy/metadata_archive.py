"""Write the metadata of what is installed as a tar to standard output: `inventory.py` runs this in the image.

python/   the `.dist-info` folders of the environment
system/   dpkg's status file and the copyright files of its packages
models/   the manifest and the card of every artifact of the Bento

Standard library only: it runs in the image.
"""

import os
import pathlib
import sys
import sysconfig
import tarfile


def main() -> None:
    """Write the archive."""
    site = pathlib.Path(sysconfig.get_path("purelib", scheme="venv"))
    root = pathlib.Path("/")
    models = pathlib.Path(os.environ["BENTO_PATH"]) / "models"
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        _add(archive, "python", site, "*.dist-info")
        _add(archive, "system", root, "var/lib/dpkg/status")
        _add(archive, "system", root, "usr/share/doc/*/copyright")
        _add(archive, "models", models, "*/*/manifest.json")
        _add(archive, "models", models, "*/*/card.json")


def _add(archive: tarfile.TarFile, name: str, folder: pathlib.Path, pattern: str) -> None:
    for path in sorted(folder.glob(pattern)):
        archive.add(path, f"{name}/{path.relative_to(folder)}")


if __name__ == "__main__":
    main()
