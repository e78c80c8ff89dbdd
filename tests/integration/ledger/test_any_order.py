from tests.integration.ledger.any_order import run_in_any_order

EXAMPLES, STEPS = 12, 30
"""`tests/faults/` tries many more."""


def test_no_order_of_events_loses_or_doubles_an_image(at_work):
    run_in_any_order(at_work, examples=EXAMPLES, steps=STEPS)
