"""The gate between publishing a model and activating it: what a candidate owes the model that serves.

`training.gate` measures both on the same images; here is what is demanded of the figures. docs/adr/0014-the-gate.md
has the reason for each number. Pure.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

MOST_BMA_LOST: Final = 0.02
"""The lower end of the paired 95 % interval stays above minus this: it is shown to be no worse."""

MOST_MELANOMA_UNFLAGGED: Final = 0.02
"""Of the melanomas that triage brings to somebody's eyes. It is what protects patients, so that chance is no excuse."""

MOST_MELANOMA_LOST: Final = 0.05
"""Of the melanomas that are called so: about one standard error where a hundred of them are held out."""

MOST_BENIGN_FLAGGED: Final = 0.10
"""More than the active model flags: each costs somebody's eyes, and a model that flags everything loses no melanoma."""

MOST_ECE: Final = 0.05
"""Or that of the active model, where these images are hard for both."""

MOST_NLL_ADDED: Final = 0.05
"""In nats: the probability of the true class falls by 5 % at most, in the geometric mean."""

MOST_COVERAGE_SHORT: Final = 0.03
"""Three standard errors of a coverage of 90 % on a thousand lesions."""


class Basis(StrEnum):
    """What a model goes by. Which of the two a patient gets depends on what the batch brings."""

    PICTURE_ALONE = "picture_alone"
    ALL_KNOWN = "all_known"  # age, sex and place too, as far as a model weighs them

    @property
    def label(self) -> str:
        """As a sentence begins."""
        return "By the picture alone" if self is Basis.PICTURE_ALONE else "By picture, age, sex and place"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one model comes to on the held-out images. Calibration and sets count each lesion once.

    Attributes:
        bma: balanced multi-class accuracy of the argmax, 0 to 1.
        melanoma_sensitivity: share of the melanomas that the argmax calls so.
        melanoma_flagged: share of the melanomas that triage flags, at whatever level.
        benign_passed: share of the benign lesions that triage does not flag.
        ece: expected calibration error, 0 to 1.
        nll: mean negative log-probability of the true class, in nats.
        coverage: share of the conformal sets that hold the true class.
        mean_set_size: classes in a conformal set, 1 to 7.
    """

    bma: float
    melanoma_sensitivity: float
    melanoma_flagged: float
    benign_passed: float
    ece: float
    nll: float
    coverage: float
    mean_set_size: float


@dataclass(frozen=True, slots=True)
class Difference:
    """BMA of the candidate minus BMA of the active model, and its 95 % interval over resamples of the lesions."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Compared:
    """Both models on the same images, on one basis."""

    candidate: Figures
    active: Figures
    bma_difference: Difference


@dataclass(frozen=True, slots=True)
class Check:
    """One demand. `finding` is a sentence without a full stop that holds the figures."""

    name: str
    passed: bool
    finding: str


@dataclass(frozen=True, slots=True)
class Gate:
    """How a candidate compared with the model that was active then.

    `candidate` and `active` are digests; `remarks` say what a reader must know before relying on the rest. They
    are compared by all that is known only where one of them weighed some of it.
    """

    candidate: str
    active: str
    side: str
    split_digest: str
    images: int
    lesions: int
    compared: Mapping[Basis, Compared]
    checks: tuple[Check, ...]
    remarks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every check did."""
        return all(check.passed for check in self.checks)

    def verdict(self) -> str:
        """One sentence: passed, or why not."""
        failed = [check.finding for check in self.checks if not check.passed]
        return f"The gate refuses it: {'; '.join(failed)}." if failed else "It passes the gate."

    def as_json(self) -> dict[str, Any]:
        """As the registry keeps it."""
        return {"passed": self.passed, **asdict(self)}

    def summary(self) -> dict[str, Any]:
        """As the audit trail keeps it."""
        return {
            "passed": self.passed,
            "against": self.active,
            "images": self.images,
            "split_digest": self.split_digest,
            "failed_checks": [check.name for check in self.checks if not check.passed],
            "remarks": list(self.remarks),
        }


def judge(compared: Mapping[Basis, Compared], *, coverage_target: float) -> tuple[Check, ...]:
    """Every demand on the figures of a candidate, on each basis: some patients get the one, some the other.

    Args:
        compared: measured on the same images.
        coverage_target: what the candidate's conformal sets promise, 0 to 1.
    """
    return tuple(
        check if basis is Basis.PICTURE_ALONE else _by_all_known(check)
        for basis, figures in compared.items()
        for check in _judge_one(figures, coverage_target)
    )


def _by_all_known(check: Check) -> Check:
    return Check(
        f"{check.name}: {Basis.ALL_KNOWN.value}", check.passed, f"with age, sex and place, {check.finding}"
    )


def _judge_one(compared: Compared, coverage_target: float) -> tuple[Check, ...]:
    candidate, active, difference = compared.candidate, compared.active, compared.bma_difference
    most_ece = max(MOST_ECE, active.ece)
    return (
        Check(
            "bma",
            difference.low > -MOST_BMA_LOST,
            f"BMA {candidate.bma:.3f} after {active.bma:.3f}: {difference.value:+.3f},"
            f" 95 % {difference.low:+.3f} to {difference.high:+.3f}; the lower end above {-MOST_BMA_LOST:+.2f}",
        ),
        _loses_at_most(
            "melanoma_flagged",
            "melanomas flagged by triage",
            candidate.melanoma_flagged,
            active.melanoma_flagged,
            MOST_MELANOMA_UNFLAGGED,
        ),
        _loses_at_most(
            "melanoma_sensitivity",
            "melanomas called melanoma",
            candidate.melanoma_sensitivity,
            active.melanoma_sensitivity,
            MOST_MELANOMA_LOST,
        ),
        _loses_at_most(
            "benign_passed",
            "benign lesions not flagged",
            candidate.benign_passed,
            active.benign_passed,
            MOST_BENIGN_FLAGGED,
        ),
        Check(
            "ece",
            candidate.ece <= most_ece,
            f"calibration error {candidate.ece:.3f} after {active.ece:.3f}; at most {most_ece:.3f}",
        ),
        Check(
            "nll",
            candidate.nll <= active.nll + MOST_NLL_ADDED,
            f"negative log-likelihood {candidate.nll:.3f} after {active.nll:.3f};"
            f" at most {MOST_NLL_ADDED:.2f} more",
        ),
        Check(
            "coverage",
            candidate.coverage >= coverage_target - MOST_COVERAGE_SHORT,
            f"conformal sets hold the truth in {_percent(candidate.coverage)} after {_percent(active.coverage)};"
            f" at least {_percent(coverage_target - MOST_COVERAGE_SHORT)}",
        ),
    )


def golden_checks(problems: Mapping[str, str | None]) -> tuple[Check, ...]:
    """One check for each engine by its name: what is wrong with its golden answers, or None."""
    return tuple(
        Check(f"golden: {engine}", problem is None, problem or f"{engine} gives the golden answers")
        for engine, problem in problems.items()
    )


def _loses_at_most(name: str, what: str, candidate: float, active: float, most: float) -> Check:
    return Check(
        name,
        candidate >= active - most - 1e-12,  # the margin itself passes, whatever its last bit
        f"{what}: {_percent(candidate)} after {_percent(active)}; at most {100 * most:.0f} points lost",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
