"""Why a model gives a class its score, and how far to believe the explanation.

The exact class activation map comes with every answer (`dermabatch.saliency`); here are methods to hold it against,
and the figures that judge them all alike. Importing this package loads no framework; a method loads what it needs.
"""

from dermabatch.explain.deletion_insertion import Faithfulness, baselines, faithfulness
from dermabatch.explain.errors import CannotExplain
from dermabatch.explain.judging import (
    BASELINES,
    Explained,
    Explanation,
    evaluations,
    explain_and_judge,
    faithfulness_table,
)
from dermabatch.explain.methods import ExplainedModel, Method, explain

__all__ = [
    "BASELINES",
    "CannotExplain",
    "Explained",
    "ExplainedModel",
    "Explanation",
    "Faithfulness",
    "Method",
    "baselines",
    "evaluations",
    "explain",
    "explain_and_judge",
    "faithfulness",
    "faithfulness_table",
]
