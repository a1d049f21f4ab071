"""A fitted scikit-learn pipeline as the arrays that serving reads, with the calibration folded into them."""

from __future__ import annotations

import numpy as np
from sklearn.pipeline import Pipeline

from models.text.ngrams import NgramRange
from models.text.weights import TermGroup, TextWeights, Vocabulary


def to_weights(fitted: Pipeline) -> TextWeights:
    """Return the weights of a pipeline that `training.text.choice.fit` made.

    Platt's sigmoid 1 / (1 + exp(a s + b)) of a score s is the sigmoid of the score -a s - b, and a temperature scales
    all scores: both are linear, so that they change the coefficients and the intercept alone.
    """
    groups, idf = [], []
    for _, part in fitted["features"].transformer_list:
        ngrams = NgramRange(part.analyzer, *part.ngram_range)
        groups.append(TermGroup(ngrams, tuple(part.get_feature_names_out().tolist())))
        idf.append(part.idf_)
    strip_accents = any(part.strip_accents for _, part in fitted["features"].transformer_list)
    (calibrated,) = fitted["model"].calibrated_classifiers_
    (calibrator,) = calibrated.calibrators
    model = calibrated.estimator
    if len(fitted["model"].classes_) == 2:
        scale, shift = -calibrator.a_, -calibrator.b_
    else:
        scale, shift = calibrator.beta_, 0.0
    return TextWeights(
        vocabulary=Vocabulary(tuple(groups), strip_accents),
        idf=np.concatenate(idf).astype(np.float32),
        coefficients=np.ascontiguousarray((scale * model.coef_.astype(np.float64)).T, dtype=np.float32),
        intercept=(scale * model.intercept_.astype(np.float64) + shift).astype(np.float32),
    )
