import pytest

from dermabatch.lifecycle import (
    BATCH_MOVES,
    CHUNK_MOVES,
    IMAGE_MOVES,
    MODEL_MOVES,
    PACK_MOVES,
    SCREENED_MOVES,
    SCREENING_MOVES,
    BatchState,
    ChunkState,
    ImageState,
    ModelState,
    PackState,
    ScreenedState,
    ScreeningState,
    may_move,
)

LIVES = [
    (BatchState, BATCH_MOVES),
    (PackState, PACK_MOVES),
    (ChunkState, CHUNK_MOVES),
    (ImageState, IMAGE_MOVES),
    (ModelState, MODEL_MOVES),
    (ScreeningState, SCREENING_MOVES),
    (ScreenedState, SCREENED_MOVES),
]


@pytest.mark.parametrize(("states", "moves"), LIVES)
def test_every_state_says_where_it_may_go_and_goes_to_known_states(states, moves):
    assert set(moves) == set(states)
    assert set().union(*moves.values()) <= set(states)


@pytest.mark.parametrize(("states", "moves"), LIVES)
def test_no_state_moves_to_itself(states, moves):
    assert not any(state in moves[state] for state in states)


def test_a_classified_image_keeps_its_outcome():
    assert IMAGE_MOVES[ImageState.CLASSIFIED] == frozenset()


def test_only_a_failed_image_may_be_tried_again():
    back = [state for state in ImageState if may_move(IMAGE_MOVES, old=state, new=ImageState.PENDING)]
    assert back == [ImageState.FAILED]


def test_a_rejected_model_never_serves():
    assert not may_move(MODEL_MOVES, old=ModelState.REJECTED, new=ModelState.ACTIVE)
