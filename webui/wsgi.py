"""Entry for gunicorn: `gunicorn --worker-class gthread 'webui.wsgi:create()'`."""

from flask import Flask

from dermabatch.database import connect
from dermabatch.durability import require_durability
from dermabatch.observability import configure_logging
from dermabatch.production import require_production
from dermabatch.settings import load_settings
from webui.app import create_app


def create() -> Flask:
    """The portal of the installation that the environment describes."""
    settings = load_settings()
    configure_logging(settings)
    sessions = connect(settings.database_url.get_secret_value())
    require_production(settings, sessions)
    require_durability(sessions)
    return create_app(settings, sessions=sessions)
