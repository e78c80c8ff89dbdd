"""The page of a report: whole, self-contained, and honest about what it lacks."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from dermabatch.clinical import Field
from dermabatch.manifest import Network, Training
from dermabatch.taxonomy import LESION_CLASSES
from tests.unit.training import held_out_situations as situations
from training.evaluate import evaluate
from training.fusion_gain import fusion_gain
from training.promises import promises
from training.report import render_report, report_bytes
from training.report.checklists import CLEAR_DERM, MI_CLAIM
from training.report.page import SECTIONS
from training.report.parts import about, cohorts, examples, thumbnail
from training.robustness import eight_poses, robustness

TRAINING = Training(
    data="painted discs: 420 images of 315 lesions",
    data_digest="a" * 64,
    split_digest="b" * 64,
    images=300,
    epochs=3,
    seeds=(1,),
    seconds=60.0,
)
NETWORK = Network(name="baseline_cnn", parameters={"input_size": 32, "classes": 7})
HISTORY = [
    {
        "epoch": 1.0,
        "loss": 1.5,
        "accuracy": 0.4,
        "validation_loss": 1.6,
        "validation_bma": 0.3,
        "seconds": 4.0,
    },
    {
        "epoch": 2.0,
        "loss": 1.1,
        "accuracy": 0.6,
        "validation_loss": 1.3,
        "validation_bma": 0.5,
        "seconds": 4.0,
    },
]


class Page(HTMLParser):
    """What a browser would fetch, jump to and show."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.links, self.sources = set(), [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.add(tag)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"]] if tag == "a" else []
        self.sources += [
            attributes[name] for name in ("src", "srcset", "data", "poster") if name in attributes
        ]


@pytest.fixture(scope="module")
def answers():
    return situations.answers()


@pytest.fixture(scope="module")
def least(answers):
    """A report with nothing but what every report has."""
    calibration = situations.calibration()
    return {
        "about": about(
            model="tiny-1",
            digest=None,
            network=NETWORK,
            training=TRAINING,
            calibration=calibration,
            engine="openvino 2026.4 cpu fp32",
            data="painted discs",
            side="test",
            split_digest="b" * 64,
            seed=1,
        ),
        "cohorts": cohorts({"train": answers.samples[:300], "test": answers.samples[300:]}),
        **evaluate(answers, calibration, seed=1),
    }


@pytest.fixture(scope="module")
def most(least, answers):
    """A report with every part that one can have."""
    pixels = np.random.default_rng(1).integers(0, 255, (len(answers.samples), 8, 8, 3), dtype=np.uint8)

    def ask(images):
        return images.reshape(len(images), -1)[:, :7].astype(np.float32) / 64, np.zeros(len(images), bool)

    return {
        **least,
        "runs": [{"recipe": {"epochs": 2, "seed": seed}, "history": HISTORY} for seed in (1, 2)],
        "bma_on_other_sides": {"validation": 0.5},
        "promises": promises(situations.calibration(), answers),
        "poses": eight_poses(answers, pixels, ask, situations.calibration(), 1, lambda images: None),
        "robustness": robustness(answers, pixels, ask, 1, lambda images: None),
        "metadata_fusion": {
            **fusion_gain(answers, {(Field.AGE,): answers}, situations.calibration(), 1),
            "shipped": False,
        },
        "explanations": [{"method": "class activation map", "images": 70, "deletion": 0.2, "insertion": 0.7}],
        "examples": examples(answers, situations.calibration(), 1),
    }


@pytest.fixture(scope="module")
def full_page(most):
    picture = np.zeros((32, 32, 3), np.uint8)
    return render_report(most, {example["image_id"]: thumbnail(picture) for example in most["examples"]})


@pytest.fixture(scope="module")
def least_page(least):
    return render_report(json.loads(report_bytes(least)))


def test_nothing_comes_from_elsewhere_and_nothing_runs(full_page):
    page = Page(full_page)

    assert page.tags.isdisjoint({"script", "link", "iframe", "object", "embed", "base"})
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert all(link.startswith("#") for link in page.links)
    assert re.findall(r"url\((?!#)", full_page) == []
    assert "@import" not in full_page


def test_every_jump_lands_and_no_id_is_doubled(full_page):
    page = Page(full_page)

    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert set(SECTIONS) <= set(page.ids)


def test_a_report_of_the_least_parts_is_a_page_too(least_page):
    assert set(SECTIONS) <= set(Page(least_page).ids)
    assert "Not tried for this report." in least_page


def test_a_page_without_examples_shows_no_picture(least_page):
    assert Page(least_page).sources == []


def test_the_worst_errors_are_shown_where_they_were_asked_for(most, full_page):
    sources = Page(full_page).sources

    assert len(sources) == len(most["examples"]) > 0
    assert base64.b64decode(sources[0].partition(",")[2])[:2] == b"\xff\xd8"
    assert "Keep it where the images may be." in full_page


def test_the_page_says_what_the_figures_are(least, least_page):
    assert f"{least['bma']:.3f}" in least_page
    assert f"{least['classes']['mel']['sensitivity']:.3f}" in least_page
    for lesion in LESION_CLASSES:
        assert lesion.label in least_page


@pytest.mark.parametrize(
    "words",
    [
        "Not a medical device",
        "No squamous cell carcinoma class",
        "Skin tone</b> is not recorded",
        "One source",
        "They allow no claim of being better than anyone",
        "two lesions of one person may stand on two sides",
    ],
)
def test_the_limits_are_on_every_page(least_page, words):
    assert words in least_page


def test_a_report_on_another_split_warns(least, least_page):
    elsewhere = {**least, "about": {**least["about"], "split_is_the_models": False}}
    without = {**least, "about": {**least["about"], "side": None, "split_digest": None}}

    assert "it may know some of these images" not in least_page
    assert "it may know some of these images" in render_report(elsewhere)
    assert "nobody has checked that the model never saw these images" in render_report(without)


def test_a_report_inside_its_artifact_cannot_name_the_digest_that_it_is_a_part_of(least, least_page):
    elsewhere = render_report({**least, "about": {**least["about"], "digest": "c" * 64}})

    assert '<th scope="row">Model</th>' not in least_page
    assert f'<th scope="row">Model</th><td><code>{"c" * 64}</code>' in elsewhere


def test_both_checklists_are_answered_item_by_item(full_page):
    # 19 and 25 items: Norgeot et al. 2020, Daneshjou et al. 2022.
    assert sum(len(part.items) for part in MI_CLAIM) == 19
    assert sum(len(part.items) for part in CLEAR_DERM) == 25
    assert [part.name for part in CLEAR_DERM] == ["Data", "Technique", "Technical assessment", "Application"]
    for part in (*MI_CLAIM, *CLEAR_DERM):
        for item in part.items:
            assert item.section in SECTIONS, item.name
            assert item.name in full_page


def test_one_report_makes_one_page(least, least_page):
    assert render_report(least) == least_page


def test_figures_that_do_not_exist_are_no_numbers_in_the_json(most):
    assert b"NaN" not in report_bytes(most)


def test_the_examples_are_errors_the_worst_first(most, answers):
    malignant = [
        one["malignant_probability"]
        for one in most["examples"]
        if one["kind"] == "malignant taken for benign"
    ]

    assert malignant == sorted(malignant)
    assert all(one["truth"] != one["called"] for one in most["examples"])
