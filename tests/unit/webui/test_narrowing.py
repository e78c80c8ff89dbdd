from werkzeug.datastructures import MultiDict

from dermabatch.lifecycle import PREDICTED_STATES, ImageState
from dermabatch.triage import Triage
from webui.narrowing import WANTS_EYES, Narrowing


def test_without_choices_a_batch_lists_every_image_with_a_result():
    narrowing = Narrowing.of_batch(MultiDict())
    assert narrowing.states == tuple(PREDICTED_STATES)
    assert narrowing.criteria() == {"triage": None, "classes": None}
    assert not narrowing.any_chosen


def test_without_choices_the_worklist_lists_what_wants_eyes():
    assert Narrowing.of_worklist(MultiDict()).criteria()["triage"] == WANTS_EYES


def test_choices_are_written_back_as_they_were_read():
    chosen = MultiDict([("triage", "urgent"), ("triage", "soon"), ("class", "mel"), ("state", "classified")])
    narrowing = Narrowing.of_batch(chosen)
    again = MultiDict([(name, value) for name, value in _pairs(narrowing.query())])
    assert Narrowing.of_batch(again) == narrowing
    assert narrowing.triage == (Triage.URGENT, Triage.SOON)


def test_what_means_nothing_is_taken_for_not_chosen():
    nonsense = MultiDict([("triage", "x"), ("class", "y"), ("state", "z"), ("days", "many")])
    assert not Narrowing.of_batch(nonsense).any_chosen
    assert Narrowing.of_worklist(nonsense).days == 7


def test_a_reader_who_came_from_the_worklist_keeps_following_it():
    narrowing = Narrowing.of_worklist(MultiDict([("days", "30"), ("class", "bcc")]))
    assert Narrowing.of_reader(MultiDict(list(_pairs(narrowing.reader_query())))) == narrowing


def test_every_file_can_be_asked_for():
    assert Narrowing.of_batch(MultiDict([("state", "all")])).states == tuple(ImageState)


def _pairs(query):
    for name, value in query.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                yield name, str(one)
