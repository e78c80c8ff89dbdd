import base64

import pytest

from dermabatch.errors import ConfigurationError
from dermabatch.settings import load_settings

KEY = base64.b64encode(b"k" * 32).decode()
COMPLETE = {
    "DATABASE_URL": "postgresql+psycopg2://web@localhost/dermabatch",
    "REDIS_URL": "redis://localhost",
    "S3_ENDPOINT": "http://localhost:8333",
    "S3_ACCESS_KEY": "access",
    "S3_SECRET_KEY": "hidden-from-everybody",
    "MASTER_KEY": KEY,
    "VERIFY_KEY": KEY,
}


@pytest.fixture
def environment(monkeypatch):
    def set_to(**changes):
        for name, value in {**COMPLETE, **changes}.items():
            if value is None:
                monkeypatch.delenv(f"DERMABATCH_{name}", raising=False)
            else:
                monkeypatch.setenv(f"DERMABATCH_{name}", value)

    return set_to


def test_the_environment_is_read_with_its_types(environment):
    environment(LEASE_SECONDS="7.5", ENGINE="tensorflow")
    settings = load_settings()
    assert settings.lease_seconds == 7.5
    assert settings.engine == "tensorflow"
    assert settings.master_key == b"k" * 32


def test_everything_that_is_missing_or_wrong_is_named_at_once(environment):
    environment(REDIS_URL=None, MASTER_KEY="c2hvcnQ=", ENGINE="torch")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    for name in ("DERMABATCH_REDIS_URL", "DERMABATCH_MASTER_KEY", "DERMABATCH_ENGINE"):
        assert name in str(caught.value)


def test_no_secret_is_shown_when_settings_are_printed_or_refused(environment):
    environment()
    assert "hidden-from-everybody" not in repr(load_settings())
    assert "master_key" not in repr(load_settings())
    environment(MASTER_KEY="bm90LTMyLWJ5dGVz", ENGINE="torch")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "bm90LTMyLWJ5dGVz" not in str(caught.value)


NIGHT = '"cron": "0 22 * * *", "source": "/archive"'


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[{", "night_runs"),
        ('[{"name": "a", "cron": "at night", "source": "/archive"}]', "0 22 "),
        (f'[{{"name": "A b", {NIGHT}}}]', "NIGHT_RUNS"),
        (f'[{{"name": "a", {NIGHT}, "dead_line": "06:00"}}]', "DEAD_LINE"),
        (f'[{{"name": "a", {NIGHT}, "deadline": "06:00Z"}}]', "without a zone"),
        (f'[{{"name": "a", {NIGHT}}}, {{"name": "a", {NIGHT}}}]', "a name of its own"),
    ],
)
def test_a_night_run_that_is_none_is_named_in_one_sentence(environment, value, said):
    environment(NIGHT_RUNS=value)
    with pytest.raises(ConfigurationError, match=said):
        load_settings()


def test_a_time_zone_that_is_none_is_refused(environment):
    environment(TIME_ZONE="Europe/Nowhere")
    with pytest.raises(ConfigurationError, match="Europe/Vienna"):
        load_settings()
