"""The ledger's state machine as in `make test`, through many more orders of events and longer ones."""

from tests.integration.ledger.any_order import run_in_any_order
from tests.integration.ledger.conftest import at_work  # noqa: F401 - the fixture

EXAMPLES, STEPS = 150, 60


def test_no_order_of_events_loses_or_doubles_an_image(at_work):  # noqa: F811 - the fixture
    run_in_any_order(at_work, examples=EXAMPLES, steps=STEPS)
