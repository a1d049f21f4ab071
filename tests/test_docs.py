"""Tests of all pages: the files, sections, modules, settings and classes that they name exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = ("models", "training", "serving", "benchmarks", "deploy", "docs", "tests")
# Variables of training and of the settings file itself, which are no settings of the service.
OTHER_VARIABLES = {"MAKUNOUCHI_CACHE", "MAKUNOUCHI_ENV_FILE"}
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def anchor(heading: str) -> str:
    """Return the anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@by_page
def test_every_link_leads_to_a_file_and_a_section(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        file, _, section = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (section and section not in anchors(target)):
            broken.append(link)
    assert broken == []


@by_page
def test_every_path_exists(page: Path) -> None:
    paths = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./*-]*)`", page.read_text())
    assert [path for path in paths if not list(ROOT.glob(path.rstrip("/")))] == []


@by_page
def test_every_module_that_is_run_exists(page: Path) -> None:
    modules = set(re.findall(rf"python -m\s+((?:{'|'.join(FOLDERS)})[\w.]*\w)", page.read_text()))
    assert [module for module in sorted(modules) if importlib.util.find_spec(module) is None] == []


@by_page
def test_every_setting_exists(page: Path) -> None:
    known = set(re.findall(r"`(MAKUNOUCHI_\w+)`", (ROOT / "docs" / "settings.md").read_text())) | OTHER_VARIABLES
    assert set(re.findall(r"MAKUNOUCHI_\w*[A-Z]", page.read_text())) - known == set()


@pytest.mark.parametrize("page", ["docs/architecture.md", "docs/glossary.md", "CONTRIBUTING.md"])
def test_every_class_exists(page: str) -> None:
    files = [ROOT / "service.py", *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))]
    words = {word for file in files for word in re.findall(r"\w+", file.read_text())}
    assert set(re.findall(r"`([A-Z][a-z]+[A-Z]\w+)`", (ROOT / page).read_text())) - words == set()


def test_every_page_is_linked() -> None:
    links = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    }
    assert [page.name for page in PAGES if page not in links and page.name != "README.md"] == []
