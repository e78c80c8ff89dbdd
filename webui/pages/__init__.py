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
    second_factor,
    sign_in,
    system,
    upload,
    users,
    worklist,
)

_SUBJECTS = (
    *(worklist, batches, upload, batch, images, audit, models, users, system, help, frame),
    *(sign_in, account, second_factor),
)


def register_pages(app: Flask) -> None:
    """Give the application every page."""
    for subject in _SUBJECTS:
        app.register_blueprint(subject.blueprint)
