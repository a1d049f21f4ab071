"""The bill of materials of an image, as CycloneDX JSON: Python packages, Debian packages, and models with their hashes.

It describes the finished image: `metadata_archive.py` runs in it and returns the metadata of what is installed.
cyclonedx-py reads the Python packages, debsbom the Debian ones. Only the models are described here.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.engine import Engine

_ARCHIVE_SCRIPT = Path(__file__).with_name("metadata_archive.py")
_PYTHON = "/app/.venv/bin/python"
_DPKG_STATUS = "var/lib/dpkg/status"
_SPECIFICATION = "1.7"


def write_inventory(engine: Engine, image: str, *, manifest: Mapping[str, object], folder: Path) -> Path:
    """Write `<Bento's name>-<image's tag>.cdx.json` into `folder`, validated against the schema of CycloneDX.

    Raises ValueError when the document is not valid.
    """
    content = engine.run_in(image, [_PYTHON, "-"], stdin=_ARCHIVE_SCRIPT.read_bytes())
    with tempfile.TemporaryDirectory(prefix="makunouchi-inventory-") as scratch:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(scratch, filter="data")
        description = f"Bento {manifest['name']}:{manifest['version']}"
        document = bill_of_materials(Path(scratch), image=image, description=description)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{manifest['name']}-{image.rpartition(':')[2]}.cdx.json"
    path.write_text(document)
    return path


def bill_of_materials(metadata: Path, *, image: str, description: str) -> str:
    """Return the CycloneDX document for an extracted metadata archive. Raises ValueError when it is not valid."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot7
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    name, _, version = image.rpartition(":")
    root = Component(name=name, version=version, type=ComponentType.CONTAINER, bom_ref=image, description=description)
    bom = Bom(components=_models(metadata / "models"))
    bom.metadata.component = root
    documents = [_python_packages(metadata / "python")]
    if (metadata / "system" / _DPKG_STATUS).is_file():
        documents.append(_debian_packages(metadata / "system"))
    for document in documents:
        # mypy: the decorator of the library's serializer adds `from_json`.
        part: Bom = Bom.from_json(data=document)  # type: ignore[attr-defined]
        names = {component.bom_ref for component in part.components}
        bom.components.update(part.components)
        bom.dependencies.update(dependency for dependency in part.dependencies if dependency.ref in names)
        bom.metadata.tools.components.update(part.metadata.tools.components)
    bom.register_dependency(root, bom.components)
    text: str = JsonV1Dot7(bom).output_as_string(indent=2)
    fault = JsonStrictValidator(SchemaVersion.V1_7).validate_str(text)
    if fault is not None:
        raise ValueError(f"the bill of materials is not valid CycloneDX {_SPECIFICATION}: {fault}")
    return text


# Any: CycloneDX documents, which the library parses.
def _python_packages(distributions: Path) -> dict[str, Any]:
    """Return cyclonedx-py's document for a folder of `.dist-info` folders."""
    with tempfile.TemporaryDirectory() as scratch:
        # cyclonedx-py asks an environment's Python where its packages are: this one has the metadata alone.
        venv.create(scratch, symlinks=True)
        site = Path(sysconfig.get_path("purelib", scheme="venv", vars={"base": scratch, "platbase": scratch}))
        for folder in distributions.iterdir() if distributions.is_dir() else []:
            folder.rename(site / folder.name)
        return _document("cyclonedx-py", "environment", "--spec-version", _SPECIFICATION, f"{scratch}/bin/python")


def _debian_packages(root: Path) -> dict[str, Any]:
    """Return debsbom's document for the file system at `root`."""
    return _document("debsbom", "generate", "--sbom-type", "cdx", "--with-licenses", "--root", str(root), "--out", "-")


def _document(tool: str, *arguments: str) -> dict[str, Any]:
    command = [str(Path(sys.executable).with_name(tool)), *arguments]
    done = subprocess.run(command, check=True, capture_output=True)  # noqa: S603  (arguments of ours, no shell)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _models(folder: Path) -> list[Any]:
    """Return a component for each artifact in `folder`, with the SHA-256 of its files as its manifest lists them."""
    return [_model(path.parent) for path in sorted(folder.glob("*/*/manifest.json"))]


def _model(folder: Path) -> Any:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    name, version = folder.parent.name, folder.name
    reference = f"model/{name}:{version}"
    card = json.loads((folder / "card.json").read_bytes())
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    return Component(
        name=name, version=version, type=ComponentType.MACHINE_LEARNING_MODEL, bom_ref=reference,
        properties=[Property(name=f"makunouchi:{key}", value=card[key]) for key in ("task", "algorithm")],
        components=[
            Component(
                name=file, type=ComponentType.FILE, bom_ref=f"{reference}/{file}",
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
            )
            for file, (_, sha256) in files.items()
        ],
    )  # fmt: skip
