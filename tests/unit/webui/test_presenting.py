from datetime import UTC, datetime, timedelta

import pytest

from webui.presenting import ago, browser_name, duration, exactly, file_size, grouped, percent

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("probability", "shown"),
    [
        (1, "100 %"),
        (0.624, "62 %"),
        (0.0996, "10 %"),
        (0.0994, "9.9 %"),
        (0.034, "3.4 %"),
        (0.0004, "< 0.1 %"),
        (0, "< 0.1 %"),
    ],
)
def test_a_probability_has_no_decimals_from_ten_per_cent_on_and_one_below(probability, shown):
    # A sign that never stands alone on the next line.
    assert percent(probability) == shown.replace(" ", "\N{NO-BREAK SPACE}")


@pytest.mark.parametrize(
    ("before", "shown"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(seconds=45), "45 s ago"),
        (timedelta(minutes=12, seconds=40), "12 min ago"),
        (timedelta(hours=23), "23 h ago"),
        (timedelta(days=1, hours=3), "yesterday"),
        (timedelta(days=6), "6 days ago"),
        (timedelta(days=30), "23 Oct 2026"),
    ],
)
def test_a_moment_is_told_as_people_say_it(before, shown):
    assert ago(NOON - before, now=NOON) == shown


def test_the_exact_time_names_its_zone():
    assert exactly(NOON) == "2026-11-22 12:00:00 UTC"


@pytest.mark.parametrize(("seconds", "shown"), [(0.2, "1 s"), (59, "59 s"), (240, "4 min"), (9000, "2.5 h")])
def test_a_length_of_time_has_its_unit(seconds, shown):
    assert duration(seconds) == shown


@pytest.mark.parametrize(("size", "shown"), [(20_000, "20 kB"), (64 * 2**20, "64 MB"), (4 * 2**30, "4 GB")])
def test_a_size_is_told_as_file_managers_do(size, shown):
    assert file_size(size) == shown


def test_thousands_are_set_apart_and_do_not_break_over_lines():
    assert grouped(10015) == "10\N{NARROW NO-BREAK SPACE}015"


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Firefox on Windows",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"
            " Safari/537.36 Edg/140.0.0.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
            " Version/18.5 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        ("curl/8", "A browser"),
        ("", "A browser"),
    ],
)
def test_a_browser_is_named_as_people_call_it(agent, shown):
    assert browser_name(agent) == shown
