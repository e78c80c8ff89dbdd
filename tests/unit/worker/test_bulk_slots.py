from worker.bulk_slots import BulkSlots


def test_bulk_may_hold_all_slots_but_the_last():
    slots = BulkSlots(3)
    with slots.reserved() as first, slots.reserved() as second, slots.reserved() as third:
        assert (first.free, second.free, third.free) == (True, True, False)


def test_a_slot_that_turned_out_to_serve_staff_is_given_back_once():
    slots = BulkSlots(2)
    with slots.reserved() as first:
        first.give_back()
        first.give_back()
        with slots.reserved() as second, slots.reserved() as third:
            assert (second.free, third.free) == (True, False)


def test_a_slot_is_free_again_after_its_chunk():
    slots = BulkSlots(2)
    with slots.reserved():
        pass
    with slots.reserved() as again:
        assert again.free


def test_a_worker_with_a_single_slot_serves_both_queues():
    with BulkSlots(1).reserved() as only:
        assert only.free
