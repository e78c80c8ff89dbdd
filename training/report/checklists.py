"""Two checklists that clinical readers hold a report against, with where this one answers each item, or that it cannot.

MI-CLAIM: Norgeot et al., "Minimum information about clinical artificial intelligence modeling: the MI-CLAIM checklist",
Nature Medicine 26 (2020): 1320-1324. CLEAR Derm: Daneshjou et al., "Checklist for evaluation of image-based artificial
intelligence reports in dermatology", JAMA Dermatology 158 (2022): 90-96. Items are given in short.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Item:
    """One item, the answer in a sentence, and the section of the page that says more."""

    name: str
    answer: str
    section: str


@dataclass(frozen=True, slots=True)
class Part:
    """Items under one heading of a checklist."""

    name: str
    items: tuple[Item, ...]


MI_CLAIM: Final = (
    Part(
        "Study design (part 1)",
        (
            Item("Clinical problem", "Which dermatoscopic images want a clinician's eyes first.", "design"),
            Item("Research question", "Stated.", "design"),
            Item("Characteristics of the cohorts", "By class, age, sex and side.", "cohorts"),
            Item(
                "Cohorts representative of real-world settings",
                "Only of referral practices like the two that HAM10000 comes from.",
                "limits",
            ),
            Item(
                "State-of-the-art solution used as a baseline",
                "Dermatologists and a network, as published; on other images.",
                "points",
            ),
        ),
    ),
    Part(
        "Data and optimization (parts 2 and 3)",
        (
            Item("Origin and original format of the data", "HAM10000, JPEG at 600 x 450.", "data"),
            Item("Transformations before the model", "One function for training and serving.", "data"),
            Item(
                "Independence of training and test sets", "Divided by lesion, before anything else.", "data"
            ),
            Item(
                "Models evaluated, and how the best was selected", "By the validation side alone.", "training"
            ),
            Item("Input data type", "Unstructured: images.", "data"),
        ),
    ),
    Part(
        "Model performance (part 4)",
        (
            Item(
                "Primary metric of the algorithm",
                "Balanced multi-class accuracy: a rare class counts as much as a frequent one.",
                "performance",
            ),
            Item(
                "Primary metric of clinical utility",
                "Sensitivity for melanoma and malignancy at the triage levels, with predictive values.",
                "triage",
            ),
            Item(
                "Baseline against model, with significance",
                "Beside published operating points, without a test: they were measured on other images.",
                "points",
            ),
        ),
    ),
    Part(
        "Model examination (part 5)",
        (
            Item(
                "Examination technique: sensitivity analysis",
                "Six kinds of damage in five grades.",
                "robustness",
            ),
            Item(
                "Examination technique: saliency", "Class activation maps with every answer.", "explanations"
            ),
            Item("Relevance of the examination for performance", "Said where each is shown.", "robustness"),
            Item(
                "Interpretability of a single case",
                "Heat map, set of classes, and the reason of the level.",
                "explanations",
            ),
            Item("Reliability as the data shifts", "Damage and subgroups; no other hospital.", "subgroups"),
        ),
    ),
    Part(
        "Reproducibility (part 6)",
        (
            Item(
                "Tier of transparency", "Tier 1: code, recipe, split and weights are open.", "reproducibility"
            ),
        ),
    ),
)

CLEAR_DERM: Final = (
    Part(
        "Data",
        (
            Item("Image types", "Dermatoscopic photographs in colour.", "data"),
            Item(
                "Image artifacts",
                "Hair, ink, rulers and dark corners occur; not labelled, not removed.",
                "data",
            ),
            Item(
                "Technical acquisition details",
                "Several devices over twenty years; not recorded by image.",
                "data",
            ),
            Item("Preprocessing procedures", "Scaled to a square; nothing else.", "data"),
            Item("Synthetic images made public if used", "None used.", "data"),
            Item("Public images adequately referenced", "HAM10000, by its DOI.", "data"),
            Item("Patient-level metadata", "Age, sex and site; no identity of a patient.", "cohorts"),
            Item(
                "Skin tone information and how it was assessed",
                "Not recorded, not assessed; mostly light skin.",
                "limits",
            ),
            Item("Potential biases from patient information and metadata", "Named, not removed.", "limits"),
            Item("Data set partitions", "By lesion, stratified by class.", "data"),
            Item("Sample sizes of training, validation and test sets", "Given by side.", "cohorts"),
            Item("External test set", "None behind these figures, unless this report is of one.", "limits"),
            Item("Multivendor images", "Yes, but unlabelled: no figure by device.", "limits"),
            Item("Class distribution and balance", "Given by side; training corrects for it.", "cohorts"),
            Item(
                "OOD images", "An out-of-distribution score is the model's to have; see its card.", "limits"
            ),
        ),
    ),
    Part(
        "Technique",
        (
            Item(
                "Labeling method",
                "Of HAM10000: histopathology for 53 % of the images, else follow-up, consensus or confocal microscopy.",
                "data",
            ),
            Item(
                "References to common diagnostic labels",
                "SNOMED CT, ICD-10 and ICD-O-3 of each class.",
                "data",
            ),
            Item("Histopathologic review for malignancies", "All malignant lesions of HAM10000.", "data"),
            Item(
                "Detailed description of algorithm development",
                "Recipe with the reason of each number.",
                "training",
            ),
        ),
    ),
    Part(
        "Technical assessment",
        (
            Item(
                "How to publicly evaluate the algorithm", "With one command on any images.", "reproducibility"
            ),
            Item("Performance measures", "All with 95 % intervals over lesions.", "performance"),
            Item(
                "Benchmarking, technical comparison, novelty",
                "Beside published figures; nothing is new.",
                "points",
            ),
            Item("Bias assessment", "By age, sex and site; skin tone cannot be.", "subgroups"),
        ),
    ),
    Part(
        "Application",
        (
            Item(
                "Use cases and target conditions",
                "Triage among seven classes; no squamous cell carcinoma.",
                "design",
            ),
            Item(
                "Potential impacts on the health care team and patients",
                "Order of reading, not diagnosis; a clinician decides.",
                "design",
            ),
        ),
    ),
)
