"""The bill of materials of an image, as CycloneDX JSON: Python packages, Debian packages, models with their hashes.

Made by asking the finished image what is in it, not from what was meant to go in. Needs cyclonedx-bom's library
(the extra `image`). Knows no engine's command line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from deploy.engine import Engine

_LISTING = Path(__file__).with_name("listing.py")
_PYTHON = "/app/.venv/bin/python"


def write_inventory(engine: Engine, image: str, *, manifest: Mapping[str, object], folder: Path) -> Path:
    """Write `<Bento's name>-<image's tag>.cdx.json` into `folder`, validated against CycloneDX 1.6's schema.

    Raises ValueError when the document is not valid.
    """
    # Any: JSON that `listing.py` printed inside the image.
    listed: dict[str, Any] = json.loads(engine.ask(image, [_PYTHON, "-"], stdin=_LISTING.read_bytes()))
    document = bill_of_materials(listed, image=image, description=f"Bento {manifest['name']}:{manifest['version']}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{manifest['name']}-{image.rpartition(':')[2]}.cdx.json"
    path.write_text(document)
    return path


def bill_of_materials(listed: Mapping[str, Any], *, image: str, description: str) -> str:
    """The CycloneDX 1.6 document for what `listing.py` found. Raises ValueError when it is not valid."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    bom = Bom()
    name, _, version = image.rpartition(":")
    root = Component(name=name, version=version, type=ComponentType.CONTAINER, bom_ref=image, description=description)
    bom.metadata.component = root
    python = {canonicalize_name(item["name"]): item for item in listed["packages"]}
    components = {key: _python_package(item) for key, item in python.items()}
    for key, item in python.items():
        needed = {canonicalize_name(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in item["requires"]}
        bom.register_dependency(components[key], [components[other] for other in sorted(needed & components.keys())])
    others = [*map(_debian_package, listed["debian"]), *map(_model, listed["models"])]
    for component in (*components.values(), *others):
        bom.components.add(component)
    bom.register_dependency(root, [*components.values(), *others])
    document: str = JsonV1Dot6(bom).output_as_string(indent=2)
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(document)
    if fault is not None:
        raise ValueError(f"the bill of materials is not valid CycloneDX: {fault}")
    return document


# Any: components of cyclonedx, imported only when a bill is made.
def _python_package(item: Mapping[str, Any]) -> Any:
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    name, version = canonicalize_name(item["name"]), item["version"]
    licenses = [LicenseFactory().make_from_string(item["license"])] if item["license"] else []
    return Component(
        name=name, version=version, type=ComponentType.LIBRARY, bom_ref=f"pypi/{name}@{version}",
        description=item["summary"] or None, licenses=licenses, purl=PackageURL("pypi", None, name, version),
    )  # fmt: skip


def _debian_package(item: Mapping[str, str]) -> Any:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    name, version, architecture = item["package"], item["version"], item["architecture"]
    return Component(
        name=name, version=version, type=ComponentType.LIBRARY, bom_ref=f"deb/{name}@{version}",
        purl=PackageURL("deb", "debian", name, version, {"arch": architecture}),
    )  # fmt: skip


def _model(item: Mapping[str, Any]) -> Any:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    files = [
        Component(
            name=file, type=ComponentType.FILE, bom_ref=f"model/{item['name']}:{item['version']}/{file}",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
        )
        for file, (_, sha256) in _pairs(item["files"])
    ]  # fmt: skip
    return Component(
        name=item["name"], version=item["version"], type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"model/{item['name']}:{item['version']}", components=files,
        properties=[Property(name=f"makunouchi:{key}", value=item[key]) for key in ("task", "algorithm")],
    )  # fmt: skip


def _pairs(files: Mapping[str, tuple[int, str]]) -> Iterable[tuple[str, tuple[int, str]]]:
    return sorted(files.items())
