import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermabatch.audit.appending import canonical_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), values, max_size=3))
def test_details_survive_their_spelling_as_plain_ascii(details):
    text = canonical_json(details)
    assert text.isascii()
    assert json.loads(text) == details


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_equal_details_have_one_spelling(details):
    assert canonical_json(dict(reversed(details.items()))) == canonical_json(details)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_cannot_spell_are_refused(number):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"probability": number})
