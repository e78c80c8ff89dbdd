"""Entry for gunicorn: `gunicorn --worker-class gthread --threads 8 'webui.wsgi:create()'`."""

from flask import Flask

from dermabatch.observability import configure_logging
from dermabatch.settings import load_settings
from webui.app import create_app


def create() -> Flask:
    """The portal of the installation that the environment describes."""
    settings = load_settings()
    configure_logging(settings)
    return create_app(settings)
