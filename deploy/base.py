"""The base image: Debian stable with its Python, and nothing else.

It comes from a registry. Where no registry answers, mmdebstrap makes it from Debian's packages, without a package
manager, pip or a compiler. The engine's storage keeps it for a week, so that security updates arrive.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deploy.engine import Engine, EngineMissing

# The minor versions of the Python and of the C library of the suite: they decide which wheels the image takes.
IMAGE_PYTHON = "3.13"
GLIBC_MINOR = 41
_SUITE = "trixie"
REGISTRY_IMAGE = f"docker.io/library/python:{IMAGE_PYTHON}-slim-{_SUITE}"
_MAX_AGE = timedelta(days=7)
# passwd adds the service's user; numeric wheels need the two libraries. usr-is-merged replaces usrmerge, which brings
# 47 MB of perl, because the hook merges the folders before anything is installed.
_PACKAGES = (f"python{IMAGE_PYTHON}", "ca-certificates", "passwd", "libstdc++6", "libgomp1", "netbase", "usr-is-merged")
_MERGED = Path("/usr/share/mmdebstrap/hooks/merged-usr")
_EXCLUDED = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*")
_INCLUDED = "/usr/share/doc/*/copyright"
_RECIPE = hashlib.sha256(repr((_PACKAGES, _EXCLUDED, _INCLUDED)).encode()).hexdigest()[:8]
DEBIAN_IMAGE = f"localhost/makunouchi-base:{_SUITE}-{_RECIPE}"


def base_image(engine: Engine, choice: str = "auto") -> str:
    """Return the name of a base image in the engine's storage. `choice` is "debian", "auto", or an image's name.

    "auto" pulls the registry's image, or makes one from Debian's packages where no registry answers. Raises
    CalledProcessError when neither works.
    """
    if choice == "debian":
        return _debian(engine)
    image = REGISTRY_IMAGE if choice == "auto" else choice
    if engine.has_image(image):
        return image
    if choice == "auto" and engine.has_image(DEBIAN_IMAGE):
        return _debian(engine)
    try:
        engine.run("pull", "--quiet", image, timeout_s=600)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        if choice != "auto":
            raise
        print("> no registry answers; making the base image from Debian's packages", flush=True)
        return _debian(engine)
    return image


def _debian(engine: Engine) -> str:
    if engine.has_image(DEBIAN_IMAGE) and _age(engine) < _MAX_AGE:
        return DEBIAN_IMAGE
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="makunouchi-base-") as scratch:
        archive = Path(scratch) / "base.tar"
        excludes = [f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED]
        subprocess.run(  # noqa: S603
            [_tool("mmdebstrap"), "--quiet", "--variant=essential", "--mode=auto", f"--hook-dir={_MERGED}",
             f"--include={','.join(_PACKAGES)}",
             *excludes, f"--dpkgopt=path-include={_INCLUDED}", _SUITE, str(archive)],
            check=True, capture_output=True,
        )  # fmt: skip
        _import(engine, archive)
    print(f"> base from Debian's packages: {time.monotonic() - started:.0f} s", flush=True)
    return DEBIAN_IMAGE


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise EngineMissing(f"no registry answers and {name} is not installed; run: apt-get install {name}")
    return path


def _import(engine: Engine, archive: Path) -> None:
    if engine.name == "buildah":
        # buildah has no import: an image of one layer is a build that unpacks the archive.
        with tempfile.TemporaryDirectory(prefix="makunouchi-base-") as folder:
            file = Path(folder) / "Containerfile"
            file.write_text("FROM scratch\nADD base.tar /\n")
            (Path(folder) / "base.tar").hardlink_to(archive)
            engine.build(Path(folder), tag=DEBIAN_IMAGE, file=file)
    else:
        engine.run("import", str(archive), DEBIAN_IMAGE)


def _age(engine: Engine) -> timedelta:
    if engine.name == "buildah":
        text = engine.run("inspect", "--type", "image", "--format", "{{.OCIv1.Created}}", DEBIAN_IMAGE)
        created = datetime.strptime(text.strip()[:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    else:
        text = engine.run("image", "inspect", "--format", '{{.Created.Format "2006-01-02T15:04:05"}}', DEBIAN_IMAGE)
        created = datetime.fromisoformat(text.strip()).replace(tzinfo=UTC)
    return datetime.now(UTC) - created
