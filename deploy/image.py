"""Build the service's image through `bentoml containerize`: `python -m deploy.image`, run by `make image`.

The steps: build the Bento; download the locked wheels with pip, which checks their hashes; build a builder image with
them; run `bentoml containerize` on it, without network; copy the environment and the Bento to a clean base; write the
bill of materials.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from deploy.base import IMAGE_PYTHON, base_image
from deploy.builder import builder_image
from deploy.engine import Engine, EngineMissing, find_engine
from deploy.inventory import write_inventory
from deploy.lock import GPU_LOCK, ROOT, SERVING_LOCK
from models.store.bento_models import pinned_tags

NAME = "localhost/makunouchi"
_FILES = ROOT / "deploy" / "container"
_LEFT_OUT = _FILES / "left-out.txt"
_PRUNING = ROOT / "deploy" / "pruning.py"
_LOCKS = {"cpu": SERVING_LOCK, "gpu": GPU_LOCK}


@dataclass(frozen=True, slots=True)
class Built:
    """An image: its name in the engine's storage, its size, and the path of its bill of materials."""

    image: str
    size_bytes: int
    inventory: Path


def build_image(engine: Engine, *, bento: str, base: str, variant: str, dist: Path) -> Built:
    """Build the image of the Bento `bento` ("name:version", in the store) on the image `base`.

    Writes `<name>-<version>.cdx.json` into `dist`. Raises CalledProcessError when a step fails.
    """
    manifest = bento_manifest(bento)
    version = str(manifest["version"]) + ("" if variant == "cpu" else f"-{variant}")
    image, raw = f"{NAME}:{version}", f"{NAME}-bento:{version}"
    with _step("wheels and builder image"):
        builder = builder_image(engine, base=base, lock=_LOCKS[variant])
    with _step(f"bentoml containerize {bento}"):
        _containerize(engine, bento, builder, raw)
    models = ",".join(pinned_tags(manifest))
    with _step("the shipped image"), tempfile.TemporaryDirectory() as context:
        for file in (_PRUNING, _LEFT_OUT):
            shutil.copy(file, context)
        arguments = {
            "BASE": base, "PYTHON": IMAGE_PYTHON, "BENTO_IMAGE": raw,
            "BENTO": bento, "VERSION": version, "MODELS": models, "REVISION": _revision(),
            "CREATED": datetime.now(UTC).isoformat(timespec="seconds"),
        }  # fmt: skip
        options = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
        engine.build(Path(context), tag=image, file=_FILES / "Containerfile", options=options)
        engine.run("tag", image, f"{NAME}:latest" if variant == "cpu" else f"{NAME}:latest-{variant}")
        engine.run("rmi", raw)
    with _step("bill of materials"):
        inventory = write_inventory(engine, image, manifest=manifest, folder=dist)
    return Built(image, image_bytes(engine, image), inventory)


def bento_manifest(bento: str) -> dict[str, Any]:
    """Return the `bento.yaml` of a Bento in the store. Raises FileNotFoundError."""
    home = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")
    manifest: dict[str, Any] = yaml.safe_load((home / "bentos" / bento.replace(":", "/") / "bento.yaml").read_text())
    return manifest


def build_bento(variant: str = "cpu") -> str:
    """Run `bentoml build`; return the tag of the Bento. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as scratch:
        # The build file, with the packages of the variant.
        options = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
        options["python"]["requirements_txt"] = f"./{_LOCKS[variant].name}"
        options["labels"]["variant"] = variant
        file = Path(scratch) / "bentofile.yaml"
        file.write_text(yaml.safe_dump(options))
        done = subprocess.run(  # noqa: S603
            [_tool("bentoml"), "build", "--output", "tag", "--bentofile", str(file), str(ROOT)],
            cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    return next(line.removeprefix("__tag__:") for line in done.stdout.splitlines() if line.startswith("__tag__:"))


def image_bytes(engine: Engine, image: str) -> int:
    """Return the uncompressed size of an image."""
    if engine.name == "buildah":
        # buildah prints rounded sizes with a unit only.
        listed = engine.run("images", "--json", image)
        size: str = yaml.safe_load(listed)[0]["size"]
        number, unit = size.split()
        return int(float(number) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])
    return int(engine.run("image", "inspect", "--format", "{{.Size}}", image))


def main() -> None:
    """Build the image and print its name, its size and the path of its bill of materials."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0] if __doc__ else "")
    parser.add_argument("--engine", choices=("docker", "podman", "buildah"), help="default: the first that answers")
    parser.add_argument("--storage", type=Path, help="a folder for a private configuration and storage of podman")
    parser.add_argument("--base", default="auto", help="`debian`, `auto`, or an image with Python 3.13 (default: auto)")
    parser.add_argument("--variant", choices=tuple(_LOCKS), default="cpu")
    parser.add_argument("--bento", help="name:version of a Bento in the store (default: build one)")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="the folder for the bill of materials")
    options = parser.parse_args()
    try:
        engine = find_engine(options.engine, private=options.storage and options.storage.resolve())
        print(f"> engine: {engine.name}", flush=True)
        base = base_image(engine, options.base)
        bento = options.bento or build_bento(options.variant)
        built = build_image(engine, bento=bento, base=base, variant=options.variant, dist=options.dist)
    except EngineMissing as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {' '.join(map(str, error.cmd[:4]))} ... failed\n{_output_tail(error)}")
    print(f"> {built.image}: {built.size_bytes / 1e6:.0f} MB, bill of materials in {built.inventory}")


def _output_tail(error: subprocess.CalledProcessError) -> str:
    output = error.stderr or error.stdout or b""
    return (output if isinstance(output, str) else output.decode(errors="replace"))[-2000:]


def _containerize(engine: Engine, bento: str, builder: str, image: str) -> None:
    options = {"network": "none"}
    if engine.name == "docker":
        options["build-context"] = f"{_bento_base(bento)}=docker-image://{builder}"
    else:
        options |= {"from": builder, "format": "docker"}
    arguments = [part for name, value in options.items() for part in ("--opt", f"{name}={value}")]
    subprocess.run(  # noqa: S603
        [_tool("bentoml"), "containerize", bento, "--backend", engine.name, "--image-tag", image, *arguments],
        env=engine.whole_environment(), check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def _bento_base(bento: str) -> str:
    return str(bento_manifest(bento)["image"]["base_image"])


def _revision() -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    done = subprocess.run([git, "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip()


def _tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


@contextmanager
def _step(name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    print(f"> {name}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
