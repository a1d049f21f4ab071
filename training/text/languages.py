"""The default data: short sentences of everyday conversation in many languages, to be classified by language.

They are from the package chatterbot-corpus (BSD licence): questions and answers in YAML, one folder per language.
Languages of fewer than 50 different sentences are not used, nor is Swedish, where most sentences are in English.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path

import yaml

from models.card import DataSource
from models.store.manifest import file_sha256
from training.packages import Package, package_folder
from training.text.corpus import Corpus

DATA_NAME = "sentences in 22 languages of chatterbot-corpus"

_PACKAGE = Package("chatterbot-corpus==1.3.3", "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154")
_FOLDER = "chatterbot_corpus/data"
# Simplified and traditional Chinese have many sentences in common.
_LANGUAGES = {
    name: name
    for name in (
        "bengali",
        "chinese",
        "dutch",
        "english",
        "french",
        "german",
        "hebrew",
        "hindi",
        "indonesian",
        "italian",
        "japanese",
        "korean",
        "marathi",
        "oriya",
        "persian",
        "portuguese",
        "russian",
        "spanish",
        "tamil",
        "turkish",
        "ukrainian",
        "yoruba",
    )
} | {"traditionalchinese": "chinese"}


def sentences() -> Corpus:
    """Return the sentences, each once. A sentence that occurs in several languages is left out.

    Raises DataInvalid when they cannot be downloaded.
    """
    folder = package_folder(_PACKAGE, _FOLDER)
    languages: dict[str, set[str]] = defaultdict(set)
    digest = hashlib.sha256()
    for name, language in sorted(_LANGUAGES.items()):
        for path in sorted((folder / name).glob("*.yml")):
            digest.update(file_sha256(path).encode())
            for sentence in _read(path):
                languages[sentence].add(language)
    rows = sorted((sentence, next(iter(names))) for sentence, names in languages.items() if len(names) == 1)
    return Corpus(
        texts=tuple(sentence for sentence, _ in rows),
        labels=tuple(language for _, language in rows),
        target="language",
        source=DataSource(name=f"{DATA_NAME} 1.3.3", sha256=digest.hexdigest(), rows=len(rows)),
    )


def _read(path: Path) -> list[str]:
    conversations = yaml.safe_load(path.read_text(encoding="utf-8")).get("conversations") or []
    words = [str(sentence).split() for conversation in conversations for sentence in conversation if sentence]
    return [" ".join(sentence) for sentence in words if sentence]
