"""The portal: pages for people and a JSON API for programs, from one Flask application."""

from functools import lru_cache

from flask import Flask

from dermabatch.database import Sessions, connect
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.objects import ObjectStore, S3ObjectStore
from dermabatch.queue import WakeUp
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing
from webui import audited, errors, fruitless, guard, presenting, security, signing_in, tracing
from webui.api import register_api
from webui.pages import register_pages
from webui.portal import Portal
from webui.spool import SpoolingRequest
from webui.turns import Turns

_DECODERS = 2
"""Pictures that may be rendered at the same time; each holds a process of 72 MB."""

_DERIVED_OBJECTS = 64
"""Kept in memory: 16 MB, enough for the chunks of a few readers' pages."""


def create_app(
    settings: Settings,
    *,
    sessions: Sessions | None = None,
    store: ObjectStore | None = None,
    wake_up: WakeUp | None = None,
    decoders: DecoderPool | None = None,
) -> Flask:
    """Build the application. Nothing connects before the first request.

    Args:
        settings: of the portal's own database role.
        sessions, store, wake_up, decoders: made from the settings where not given.

    Raises:
        ConfigurationError: a secret of the portal is missing.
    """
    store = store or _storage(settings)
    collaborators = Portal(
        settings=settings,
        sessions=sessions or connect(settings.database_url.get_secret_value()),
        store=store,
        keyring=KeyRing(settings.master_key),
        wake_up=wake_up or WakeUp(settings),
        decoders=decoders or DecoderPool(_DECODERS),
        upload_turns=Turns(),
        derived_object=lru_cache(maxsize=_DERIVED_OBJECTS)(store.get),
    )
    app = Flask("webui")
    app.request_class = SpoolingRequest
    collaborators.install(app)

    security.configure(app, settings)
    signing_in.install(app, settings, collaborators.keyring)
    register_pages(app)
    register_api(app)
    # The order is that of the checks before a view: number the request, hold floods back, then judge who asks.
    tracing.install(app, trusted_proxies=settings.trusted_proxies)
    security.install(app, settings)
    guard.install(app)
    audited.install(collaborators.sessions)
    fruitless.install(app)
    presenting.install(app)
    errors.install(app)
    return app


def _storage(settings: Settings) -> ObjectStore:
    return S3ObjectStore(
        settings.s3_endpoint,
        settings.s3_bucket,
        settings.s3_access_key.get_secret_value(),
        settings.s3_secret_key.get_secret_value(),
        settings.s3_region,
    )
