"""The Celery worker: claims chunks, classifies their images and records what came of it."""
