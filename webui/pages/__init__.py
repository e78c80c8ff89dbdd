"""The pages, one subject a file."""

from flask import Flask

from webui.pages import (
    account,
    audit,
    batch,
    batches,
    frame,
    help,
    images,
    models,
    system,
    upload,
    users,
    worklist,
)

_SUBJECTS = (worklist, batches, upload, batch, images, audit, models, users, account, system, help, frame)


def register_pages(app: Flask) -> None:
    """Give the application every page."""
    for subject in _SUBJECTS:
        app.register_blueprint(subject.blueprint)
