import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermabatch.audit.chain import FIELDS, GENESIS, ChainedEvent, Link, event_hash, walk

texts = st.none() | st.text()
fields = st.lists(texts, min_size=len(FIELDS), max_size=len(FIELDS))


def chain_of(count, *, start=GENESIS, mark=""):
    """`count` events that fit."""
    events, last = [], start
    for seq in range(start.seq + 1, start.seq + count + 1):
        said = ("2026-01-31T23:59:59.000001Z", "image.view", f"{mark}{seq}", *(None,) * (len(FIELDS) - 3))
        last = Link(seq, event_hash(last.hash, seq, said))
        events.append(ChainedEvent(seq, said, last.hash))
    return events


def walked(events, *, start=GENESIS, checkpoints=()):
    return walk(events, start=start, checkpoints=dict(checkpoints))


def test_the_hash_of_an_event_never_changes_with_the_code():
    said = ("2026-01-31T23:59:59.000001Z", "batch.upload", "success", None, "person", "ä", "", *"abc", "{}")
    assert event_hash(bytes(32), 7, said).hex() == (
        "fdc534d5d417fa6450cb3cfb8ee9e216ebf28e5fa007917b57beabf79e4ca611"
    )


@settings(deadline=None)
@given(fields, fields, st.integers(1, 2**62), st.integers(1, 2**62))
def test_different_events_have_different_hashes(one, other, seq, other_seq):
    same = (one, seq) == (other, other_seq)
    assert (event_hash(bytes(32), seq, one) == event_hash(bytes(32), other_seq, other)) == same


@settings(deadline=None)
@given(st.text(min_size=1), st.integers(0, len(FIELDS) - 2), st.data())
def test_text_moved_from_one_field_to_the_next_changes_the_hash(text, place, data):
    cut, other_cut = data.draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=2, unique=True))

    def split_at(where):
        said = [None] * len(FIELDS)
        said[place], said[place + 1] = text[:where], text[where:]
        return event_hash(bytes(32), 1, said)

    assert split_at(cut) != split_at(other_cut)


def test_no_text_and_empty_text_differ():
    nothing, empty = [None] * len(FIELDS), [""] * len(FIELDS)
    assert event_hash(bytes(32), 1, nothing) != event_hash(bytes(32), 1, empty)


def test_a_chain_that_fits_is_walked_to_its_end():
    events = chain_of(5)
    walk = walked(events, checkpoints={3: events[2].hash})
    assert (walk.problem, walk.first_bad_seq, walk.events) == ("", None, 5)
    assert walk.last == Link(5, events[4].hash)
    assert walk.signed == Link(3, events[2].hash)


def test_a_missing_event_is_named():
    events = chain_of(5)
    walk = walked(events[:2] + events[3:])
    assert (walk.first_bad_seq, walk.problem) == (3, "event 3 is missing")


def test_several_missing_events_are_named():
    events = chain_of(5)
    walk = walked(events[:1] + events[4:])
    assert (walk.first_bad_seq, walk.problem) == (2, "events 2 to 4 are missing")


def test_an_event_that_stands_twice_is_named():
    events = chain_of(3)
    assert walked([*events, events[2]]).first_bad_seq == 3


def test_an_event_numbered_before_the_first_is_named():
    stray = ChainedEvent(0, (None,) * len(FIELDS), bytes(32))
    assert walked([stray, *chain_of(3)]).first_bad_seq == 0


def test_an_edited_event_is_named_and_nothing_after_it_counts():
    events = chain_of(5)
    events[2] = events[2]._replace(fields=chain_of(3, mark="edited")[2].fields)
    walk = walked(events)
    assert (walk.first_bad_seq, walk.last.seq) == (3, 2)


def test_two_events_that_changed_places_are_named():
    events = chain_of(5)
    events[1], events[3] = events[3]._replace(seq=2), events[1]._replace(seq=4)
    assert walked(events).first_bad_seq == 2


def test_a_chain_rewritten_throughout_disagrees_with_its_checkpoint():
    signed = chain_of(5)
    walk = walked(chain_of(5, mark="rewritten"), checkpoints={4: signed[3].hash})
    assert walk.first_bad_seq == 1
    assert walk.problem.startswith("events 1 to 4 are not as checkpoint 4 signed")


def test_a_rewrite_is_looked_for_after_the_last_checkpoint_that_agrees():
    signed = chain_of(5)
    rewritten = signed[:3] + chain_of(2, start=Link(3, signed[2].hash), mark="rewritten")
    walk = walked(rewritten, checkpoints={2: signed[1].hash, 5: signed[4].hash})
    assert walk.first_bad_seq == 3
    assert walk.signed.seq == 2


def test_a_checkpoint_beyond_the_end_proves_that_the_tail_was_cut():
    events = chain_of(5)
    walk = walked(events[:3], checkpoints={5: events[4].hash})
    assert walk.first_bad_seq == 4
    assert walk.problem.startswith("events 4 to 5 are missing at the end")


def test_a_chain_of_which_nothing_is_left_is_named():
    walk = walked([], checkpoints={5: chain_of(5)[4].hash})
    assert walk.first_bad_seq == 1


def numbered_anew(events, by):
    return [event._replace(seq=event.seq + by) for event in events]


@pytest.mark.parametrize(
    ("spoil", "deed"),
    [
        (lambda e: [*e[:2], e[2]._replace(fields=e[4].fields), *e[3:]], "what it says was changed"),
        (lambda e: [*e[:2], e[2]._replace(hash=bytes(32)), *e[3:]], "the hash itself was changed"),
        (lambda e: [*e[:2], e[0]._replace(seq=3), *numbered_anew(e[2:], 1)], "inserted or moved here"),
        (lambda e: [*e[:2], *numbered_anew(e[3:], -1)], "the event before it was deleted"),
        (lambda e: [*e[:2], e[3]._replace(seq=3), e[2]._replace(seq=4), e[4]], "inserted or moved here"),
        (lambda e: [*e[:2], e[2]._replace(fields=e[4].fields)], "changed, inserted or moved"),
    ],
    ids=["edited", "hash edited", "inserted", "deleted", "moved", "edited at the end"],
)
def test_what_was_done_is_told_by_the_event_that_follows(spoil, deed):
    walk = walked(spoil(chain_of(5)))
    assert walk.first_bad_seq == 3
    assert deed in walk.problem
