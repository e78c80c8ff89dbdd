from collections.abc import Iterator
from contextlib import closing

import pytest

from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.objects import S3ObjectStore
from dermabatch.queue import WakeUp
from dermabatch.settings import Settings
from tests.conftest import copied
from tests.integration.events.house import House
from tests.situations import SALT
from webui.app import create_app


@pytest.fixture(scope="session")
def house(services, migrated_template) -> Iterator[House]:
    """Shared by all tests of this folder: what they count is what one request adds."""
    with copied(services, migrated_template) as database, DecoderPool(1) as decoders:
        values = services.environment("web", database.name) | {
            "DERMABATCH_PASSWORD_SALT": SALT,
            "DERMABATCH_INSECURE_COOKIES": "true",
            "DERMABATCH_S3_BUCKET": "events",
        }
        settings = Settings(
            **{name.removeprefix("DERMABATCH_").lower(): value for name, value in values.items()}
        )
        store = S3ObjectStore.from_settings(settings)
        store.ensure_bucket()
        with closing(WakeUp(settings)) as wake_up:
            app = create_app(
                settings,
                sessions=database.sessions("web"),
                store=store,
                wake_up=wake_up,
                decoders=decoders,
            )
            # Tokens of forms have tests of their own.
            app.config["WTF_CSRF_ENABLED"] = False
            yield House(app, settings, database, store)
