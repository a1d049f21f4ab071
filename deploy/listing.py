"""Prints, as JSON, what is installed where it runs: it is fed to the Python of the image by `inventory.py`.

Standard library only; knows nothing of this project but where a Bento keeps its models.
"""

import importlib.metadata
import json
import os
import pathlib
import sys


def packages() -> list[dict[str, object]]:
    """Every Python distribution: name, version, license as it states it, the names that it requires."""
    found = []
    for distribution in importlib.metadata.distributions():
        fields = dict(distribution.metadata.items())  # type: ignore[attr-defined]
        requires = [line for line in distribution.requires or [] if "extra ==" not in line]
        found.append(
            {
                "name": fields["Name"],
                "version": distribution.version,
                "license": fields.get("License-Expression") or "",
                "summary": fields.get("Summary") or "",
                "requires": requires,
            }
        )
    return found


def debian_packages() -> list[dict[str, str]]:
    """Every Debian package, out of dpkg's own status file."""
    status = pathlib.Path("/var/lib/dpkg/status")
    found = []
    for block in status.read_text().split("\n\n") if status.is_file() else []:
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed"):
            found.append({key.lower(): fields[key] for key in ("Package", "Version", "Architecture")})
    return found


def models() -> list[dict[str, object]]:
    """Every artifact beside the Bento, with its manifest of hashes."""
    folder = pathlib.Path(os.environ["BENTO_PATH"]) / "models"
    found = []
    for manifest in sorted(folder.glob("*/*/manifest.json")):
        card = json.loads((manifest.parent / "card.json").read_bytes())
        found.append(
            {
                "name": manifest.parent.parent.name,
                "version": manifest.parent.name,
                "task": card["task"],
                "algorithm": card["algorithm"],
                "files": json.loads(manifest.read_bytes())["files"],
            }
        )
    return found


if __name__ == "__main__":
    system = dict(
        line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    json.dump(
        {
            "packages": packages(),
            "debian": debian_packages(),
            "models": models(),
            "system": system.get("PRETTY_NAME", "").strip('"'),
            "python": sys.version.split()[0],
        },
        sys.stdout,
    )
