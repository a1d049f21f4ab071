"""Pipelines that classify texts: what is served is what the pipeline answers, for every option that is converted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, ComplementNB, MultinomialNB
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

from models.errors import DataInvalid, NotConvertible
from models.text.classifier import PROBABILITIES, TEXT, TextClassifier
from tests.training.text.example_texts import sentences
from training import save

pytestmark = pytest.mark.slow

FRAME = sentences()
TEXTS, TOPICS = FRAME["message"], FRAME["topic"]
IS_SPORT = (TOPICS == "sport").to_numpy()
# Texts that none of the vectorizers has seen.
OTHERS = [
    "",
    "   ",
    "The FOOTBALL match, and the soup!",
    "Crème  brûlée\tim Café",
    "xyzzy",
    "rain rain rain on the goal",
]

WORDS = TfidfVectorizer
PIPELINES = {
    "logistic regression": make_pipeline(WORDS(), LogisticRegression()),
    "pairs without stop words": make_pipeline(WORDS(stop_words="english", ngram_range=(1, 2)), LogisticRegression()),
    "letters": make_pipeline(WORDS(analyzer="char", ngram_range=(1, 3)), LogisticRegression()),
    "letters of words, with case": make_pipeline(
        WORDS(analyzer="char_wb", ngram_range=(2, 4), lowercase=False, strip_accents="unicode", binary=True),
        LogisticRegression(),
    ),
    "words and letters": make_pipeline(
        make_union(WORDS(stop_words=["the"]), WORDS(analyzer="char_wb", ngram_range=(1, 3))), LogisticRegression()
    ),
    "sublinear, scaled by the sum": make_pipeline(WORDS(sublinear_tf=True, norm="l1"), LogisticRegression()),
    "counts and naive Bayes": make_pipeline(CountVectorizer(), MultinomialNB()),
    "weighed counts": make_pipeline(CountVectorizer(ngram_range=(1, 2)), TfidfTransformer(), ComplementNB()),
    "presence": make_pipeline(WORDS(), BernoulliNB()),
    "gradient descent": make_pipeline(WORDS(use_idf=False), SGDClassifier(loss="log_loss", random_state=0)),
    "one against the rest": make_pipeline(WORDS(), OneVsRestClassifier(LogisticRegression())),
    "calibrated": make_pipeline(WORDS(), CalibratedClassifierCV(LinearSVC(), ensemble=False)),
    "chosen terms": make_pipeline(WORDS(), SelectKBest(chi2, k=20), LogisticRegression()),
    "search": GridSearchCV(make_pipeline(WORDS(), LogisticRegression()), {"logisticregression__C": [1, 2]}),
}


@pytest.mark.parametrize("labels", [TOPICS.to_numpy(), IS_SPORT], ids=["three classes", "two classes"])
@pytest.mark.parametrize("name", PIPELINES)
def test_probabilities_of_texts(name: str, labels: Any, tmp_path: Path) -> None:
    pipeline = PIPELINES[name].fit(TEXTS, labels)
    artifact = save(pipeline, TEXTS, labels, name="topics", store=tmp_path)

    asked = [*TEXTS, *OTHERS]
    served = TextClassifier.load(artifact).predict([{TEXT: text} for text in asked])

    np.testing.assert_allclose([row[PROBABILITIES] for row in served], pipeline.predict_proba(asked), atol=1e-9)
    card = artifact.card
    assert card.task == "text-classification"
    assert card.classes == (("food", "sport", "weather") if labels.dtype != bool else ("false", "true"))
    assert card.metrics["accuracy"] == pytest.approx(pipeline.score(TEXTS, labels))
    assert card.inputs[0].example in set(TEXTS)
    assert card.parity is not None
    assert card.parity.rows > len(TEXTS)


NO_PATTERN: dict[str, Any] = {"token_pattern": None}
PATTERN: dict[str, Any] = {"token_pattern": r"\w+"}
CANNOT = {
    "tokenizer": (make_pipeline(WORDS(tokenizer=str.split, **NO_PATTERN), LogisticRegression()), "a custom tokenizer"),
    "analyzer": (make_pipeline(WORDS(analyzer=str.split), LogisticRegression()), "a custom analyzer is not"),
    "pattern": (make_pipeline(WORDS(**PATTERN), LogisticRegression()), "another token_pattern is not"),
    "accents": (make_pipeline(WORDS(strip_accents="ascii"), LogisticRegression()), "strip_accents='ascii'"),
    "hashes": (make_pipeline(HashingVectorizer(), LogisticRegression()), "HashingVectorizer over texts is not conv"),
    "trees": (make_pipeline(WORDS(), LGBMClassifier(verbose=-1, n_jobs=1)), "LGBMClassifier over texts is not"),
    "scores": (make_pipeline(WORDS(), LinearSVC()), "LinearSVC has no probabilities: fit CalibratedClassifierCV"),
    "folds": (make_pipeline(WORDS(), CalibratedClassifierCV(LinearSVC())), "several calibrated classifiers"),
    "numbers": (make_pipeline(WORDS(), Ridge()), "Ridge over texts is no classifier"),
    "options": (make_pipeline(make_union(WORDS(), WORDS(binary=True)), LogisticRegression()), "with different options"),
}  # fmt: skip


@pytest.mark.parametrize("case", CANNOT)
def test_pipelines_that_cannot_be_converted(case: str, tmp_path: Path) -> None:
    pipeline, message = CANNOT[case]
    with pytest.raises(NotConvertible) as refused:
        save(pipeline.fit(TEXTS, IS_SPORT), TEXTS, IS_SPORT, name="topics", store=tmp_path / "models")
    assert message in str(refused.value)
    assert "with the kind 'python': see docs/own-models.md" in str(refused.value)
    assert not (tmp_path / "models").exists()


def test_texts_that_do_not_fit(tmp_path: Path) -> None:
    pipeline = PIPELINES["logistic regression"]
    with pytest.raises(DataInvalid, match="is not fitted"):
        save(make_pipeline(WORDS(), LogisticRegression()), ["a text"], name="topics", store=tmp_path)
    with pytest.raises(DataInvalid, match="y has 2 values, and X has 1 rows"):
        save(pipeline.fit(TEXTS, TOPICS), ["a text"], ["food", "food"], name="topics", store=tmp_path)
    with pytest.raises(DataInvalid, match="y holds 'music', which is no class of the model: food, sport, weather"):
        save(pipeline, ["a text"], ["music"], name="topics", store=tmp_path)
