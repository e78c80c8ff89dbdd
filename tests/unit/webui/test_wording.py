import pytest

from dermabatch.accounts import ROLES, Scope
from dermabatch.audit import Action, Outcome
from dermabatch.lifecycle import ImageState, Queue
from webui.wording import (
    ACTION_WORDS,
    OUTCOME_WORDS,
    QUEUE_WORDS,
    ROLE_WORDS,
    SCOPE_WORDS,
    STATE_WORDS,
    action_name,
)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (ACTION_WORDS, Action),
        (OUTCOME_WORDS, Outcome),
        (QUEUE_WORDS, Queue),
        (ROLE_WORDS, ROLES),
        (SCOPE_WORDS, Scope),
        (STATE_WORDS, ImageState),
    ],
)
def test_every_value_that_a_page_may_show_has_words(words, values):
    assert set(words) == set(values)


def test_an_action_of_another_version_is_shown_as_it_is_stored():
    assert action_name("session.sign_in") == "Signed in"
    assert action_name("reading.signed") == "reading.signed"
