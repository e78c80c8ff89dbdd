"""Learns what age, sex and place on the body say of a lesion beside its picture.

Late fusion by Bayes' rule (`dermabatch.fusion`): tables p(value | class) come from the lesions that the network was
trained on, one exponent for each field from lesions that it was not. A field whose exponent comes out as nothing is
left out. `docs/adr/0013-age-and-site-by-bayes.md` compares this with models that are stacked on the network.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Final

import numpy as np
from scipy.optimize import minimize

from dermabatch.clinical import VALUES, Clinical, Field, value_of
from dermabatch.fusion import fuse
from dermabatch.manifest import MAX_EVIDENCE, Fusion
from dermabatch.taxonomy import CLASSES
from dermabatch.triage import decision_scores
from training.answers import Answers
from training.data import Sample, labels_of
from training.metrics import Floats, Labels

SMOOTHING: Final = 3.0
"""Lesions added to each class for each value, spread as the classes are on average: a value that 53 dermatofibromas
never had stays possible. From 0.3 to 6 the gain is the same within 0.003."""
WEAKEST: Final = 0.1
"""Least exponent of a field that is used: one below moves no odds by a tenth."""
STRONGEST: Final = 2.0
"""Greatest exponent; 1 is Bayes' rule for a field that tells nothing the picture shows."""
FOLDS: Final = 10
CHOICES: Final = tuple(fields for count in range(1, len(Field) + 1) for fields in combinations(Field, count))
"""What a hospital may tell; every field comes last."""
DIGITS: Final = 4  # of the evidence in the manifest, for whoever reads it

Fields = tuple[Field, ...]
Tables = dict[Field, dict[str, Floats]]
"""log p(value | class) less its mean over the classes, float64[7], for each value of each field."""


def clinical_of(sample: Sample) -> Clinical:
    """What the data set says of one image besides its pixels."""
    return Clinical(age=sample.age, sex=sample.sex, localization=sample.localization)


def fuse_answers(answers: Answers, fusion: Fusion) -> Answers:
    """The same answers with fused logits."""
    fused = fuse(answers.logits, fusion, [clinical_of(sample) for sample in answers.samples])
    return replace(answers, logits=fused.logits.astype(np.float32))


def fit_fusion(trained_on: Sequence[Sample], answers: Answers) -> Fusion:
    """Learn a fusion; a field that does not help has no table in it.

    Args:
        trained_on: the training side, for the tables.
        answers: of lesions that shaped no weight, for the exponents. Classes count alike, as in the BMA.
    """
    tables = log_likelihoods(trained_on)
    exponents = _fit_exponents(tables, answers)
    return Fusion(
        evidence={
            field: {value: _evidence(exponents[field] * row) for value, row in table.items()}
            for field, table in tables.items()
            if exponents[field] >= WEAKEST
        }
    )


def log_likelihoods(samples: Sequence[Sample]) -> Tables:
    """How probable each value is in each class; a lesion counts once, one without the field does not count in it."""
    lesions = list({sample.lesion_id: sample for sample in samples}.values())
    labels = labels_of(lesions)
    return {field: _table(field, labels, lesions) for field in Field}


def _table(field: Field, labels: Labels, lesions: Sequence[Sample]) -> dict[str, Floats]:
    values = VALUES[field]
    found = np.array([value_of(field, clinical_of(lesion)) for lesion in lesions])
    counts = np.array([np.bincount(labels[found == value], minlength=len(CLASSES)) for value in values])
    lesions_of_class = counts.sum(axis=0)
    usual = (counts / np.maximum(lesions_of_class, 1)).mean(axis=1)
    added = SMOOTHING * len(values)
    # Where no lesion has a value, the sizes of the classes alone would speak: it says nothing.
    table: dict[str, Floats] = dict.fromkeys(values, np.zeros(len(CLASSES)))
    for value, of_value, share in zip(values, counts, usual, strict=True):
        if share > 0:
            logs = np.log((of_value + added * share) / (lesions_of_class + added))
            table[value] = logs - logs.mean()
    return table


def _fit_exponents(tables: Tables, answers: Answers) -> dict[Field, float]:
    """The exponents under which the truth is most likely; a temperature is fitted beside them and not used.

    In 1 / temperature and exponent / temperature this is logistic regression with four coefficients, so that there is
    one best answer.
    """
    truth = answers.truth
    features = np.stack([answers.logits, *(_looked_up(field, tables, answers) for field in Field)])
    lesions_of_class = np.bincount(truth, answers.weights, len(CLASSES))
    weights = answers.weights / lesions_of_class[truth] / np.count_nonzero(lesions_of_class)
    images = np.arange(len(truth))

    def loss_and_slope(coefficients: Floats) -> tuple[float, Floats]:
        probabilities = decision_scores(np.tensordot(coefficients, features, 1))
        losses = -np.log(probabilities[images, truth] + 1e-12)
        slopes = (features * probabilities).sum(axis=2) - features[:, images, truth]
        return float(losses @ weights), slopes @ weights

    start = np.array([1.0, *[0.0] * len(Field)])  # where a field says nothing there is no slope, and it stays
    bounds = [(0.05, 20.0), *[(0.0, 20.0)] * len(Field)]
    fitted = minimize(loss_and_slope, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return {field: min(share / fitted[0], STRONGEST) for field, share in zip(Field, fitted[1:], strict=True)}


def _looked_up(field: Field, tables: Tables, answers: Answers) -> Floats:
    """What `field` would add to each image with exponent 1, float64[N, 7]."""
    values = (value_of(field, clinical_of(sample)) for sample in answers.samples)
    return np.array([np.zeros(len(CLASSES)) if value is None else tables[field][value] for value in values])


def _evidence(row: Floats) -> tuple[float, ...]:
    bound = np.floor(MAX_EVIDENCE * 10**DIGITS) / 10**DIGITS
    return tuple(np.clip(row, -bound, bound).round(DIGITS).tolist())


def cross_fitted(trained_on: Sequence[Sample], answers: Answers, seed: int) -> dict[Fields, Answers]:
    """Fused answers in which no lesion had a say in the fusion that it got, for every choice of fields to know."""
    chosen = {fields: answers.logits.copy() for fields in CHOICES}
    fold = _folds(answers, seed)
    for number in range(FOLDS):
        held = np.flatnonzero(fold == number)
        fusion = fit_fusion(trained_on, answers.at(np.flatnonzero(fold != number)))
        for fields, logits in chosen.items():
            logits[held] = fuse_answers(answers.at(held), limited(fusion, fields)).logits
    return {fields: replace(answers, logits=logits) for fields, logits in chosen.items()}


def limited(fusion: Fusion, fields: Fields) -> Fusion:
    """The same fusion for a hospital that tells no more than `fields`."""
    return Fusion(evidence={field: table for field, table in fusion.evidence.items() if field in fields})


def _folds(answers: Answers, seed: int) -> Labels:
    """A fold for each image, int64[N]: lesions stay whole and classes are spread alike."""
    random = np.random.default_rng(seed)
    fold = np.zeros(len(answers.samples), np.int64)
    for label in np.unique(answers.truth):
        lesions = random.permutation(np.unique(answers.lesions[answers.truth == label]))
        for place, lesion in enumerate(lesions):
            fold[answers.lesions == lesion] = place % FOLDS
    return fold
