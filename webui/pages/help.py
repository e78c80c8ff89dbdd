"""One page for each task, and what the model cannot know."""

from typing import Final

from flask import Blueprint, abort, render_template

blueprint = Blueprint("help", __name__, url_prefix="/help")

TOPICS: Final = {
    "reading": "Read the result of an image",
    "limits": "What the model cannot know",
    "upload": "Hand in a batch",
    "batch": "Follow a batch",
    "worklist": "Work through the worklist",
    "models": "Change the model",
    "audit": "Ask the audit trail",
    "users": "Manage users",
    "programs": "Let a program hand in batches",
}


@blueprint.get("")
def index() -> str:
    """All topics."""
    return render_template("help/index.html", topics=TOPICS)


@blueprint.get("/<topic>")
def show(topic: str) -> str:
    """One topic."""
    if topic not in TOPICS:
        abort(404)
    return render_template(f"help/{topic}.html", topics=TOPICS, topic=topic, title=TOPICS[topic])
