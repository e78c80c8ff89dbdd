"""What the API takes and answers; the OpenAPI document is made from these."""

from datetime import UTC, datetime
from typing import Any, Final

from marshmallow import Schema, fields, validate

from dermabatch.audit import Action, ActorKind, Outcome
from dermabatch.clinical import Field
from dermabatch.lifecycle import BatchState, ImageState, ModelState, Queue
from dermabatch.results import MAX_PAGE
from dermabatch.taxonomy import CLASSES, LESION_CLASSES
from dermabatch.triage import Triage


def _one_of(values: Any) -> validate.OneOf:
    return validate.OneOf([str(value) for value in values])


def _text(about: str, **kwargs: Any) -> fields.String:
    return fields.String(metadata={"description": about}, **kwargs)


class _Moment(fields.AwareDateTime):
    """In UTC: PostgreSQL takes no offset of more than 16 hours, and Python any below 24."""

    def _deserialize(self, *args: Any, **kwargs: Any) -> datetime:
        moment: datetime = super()._deserialize(*args, **kwargs)
        try:
            return moment.astimezone(UTC)
        except OverflowError as error:
            raise self.make_error("invalid", input=moment, obj_type=self.OBJ_TYPE) from error


def _limit(default: int) -> fields.Integer:
    return fields.Integer(load_default=default, validate=validate.Range(1, MAX_PAGE))


_CLASS_FIELDS: Final[dict[str, fields.Field[Any]]] = {
    lesion.code: fields.Float(metadata={"description": lesion.name}) for lesion in LESION_CLASSES
}
_STATE_FIELDS: Final[dict[str, fields.Field[Any]]] = {state.value: fields.Integer() for state in ImageState}
_TRIAGE_FIELDS: Final[dict[str, fields.Field[Any]]] = {level.value: fields.Integer() for level in Triage}

PerClass = Schema.from_dict(_CLASS_FIELDS, name="PerClass")
StateCounts = Schema.from_dict(_STATE_FIELDS, name="StateCounts")
TriageCounts = Schema.from_dict(_TRIAGE_FIELDS, name="TriageCounts")


class Problem(Schema):
    """An error, as RFC 9457 describes it."""

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = _text("What was expected and what came.")
    code = _text("Stable; made for programs.")
    request_id = _text("To be named when asking for help.")


class Acceptance(Schema):
    """The answer to an upload. Every received file is stored or rejected."""

    batch_id = fields.UUID()
    received = fields.Integer()
    stored = fields.Integer(metadata={"description": "Images that wait to be classified."})
    rejected = fields.Integer()
    repeated = fields.Boolean(
        metadata={
            "description": "An upload with this Idempotency-Key was accepted before; this is its answer."
        }
    )


class Batch(Schema):
    """One upload and where its files are."""

    id = fields.UUID()
    state = fields.String(validate=_one_of(BatchState))
    queue = fields.String(validate=_one_of(Queue))
    received = fields.Integer(metadata={"description": "Files that came, as counted by the upload itself."})
    states = fields.Nested(StateCounts)
    done = fields.Boolean(metadata={"description": "No file waits for its outcome any more."})
    created_at = fields.AwareDateTime()
    accepted_at = fields.AwareDateTime(allow_none=True)
    cancelled_at = fields.AwareDateTime(allow_none=True)


class BatchDetail(Batch):
    """A batch, with what came out so far."""

    triage = fields.Nested(TriageCounts)
    models = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata={"description": "Images that each model answered for, by digest."},
    )


class BatchPageQuery(Schema):
    """Which batches."""

    cursor = fields.UUID(load_default=None, metadata={"description": "`next_cursor` of the page before."})
    limit = _limit(50)


class BatchPage(Schema):
    """Batches of the department, newest first."""

    batches = fields.List(fields.Nested(Batch))
    next_cursor = fields.UUID(allow_none=True)


class Changed(Schema):
    """How many images a cancellation or a retry concerns."""

    images = fields.Integer()


class ResultPageQuery(Schema):
    """Which results."""

    state = fields.List(fields.Enum(ImageState, by_value=True))
    triage = fields.List(fields.Enum(Triage, by_value=True))
    class_ = fields.List(fields.String(validate=_one_of(CLASSES)), data_key="class")
    cursor = _text("`next_cursor` of the page before.", load_default=None)
    limit = _limit(50)


class Result(Schema):
    """One received file and its outcome."""

    image_id = fields.UUID()
    batch_id = fields.UUID()
    file = _text("Name as it came; null where the patient was erased.", allow_none=True)
    patient = fields.String(allow_none=True)
    lesion_id = fields.String(allow_none=True)
    age = fields.Integer(allow_none=True)
    sex = fields.String(allow_none=True)
    localization = fields.String(allow_none=True)
    state = fields.String(validate=_one_of(ImageState))
    reason_code = fields.String(allow_none=True)
    reason = _text("Why it was left out or failed.", allow_none=True)
    triage = fields.String(validate=_one_of(Triage), allow_none=True)
    triage_reason = fields.String(allow_none=True)
    class_ = fields.String(data_key="class", attribute="class", validate=_one_of(CLASSES), allow_none=True)
    malignant_probability = fields.Float(allow_none=True)
    probabilities = fields.Nested(PerClass, allow_none=True)
    scores = fields.Nested(
        PerClass,
        allow_none=True,
        metadata={"description": "For a balanced prior; their argmax is the class."},
    )
    conformal_set = fields.List(fields.String(), allow_none=True)
    quality = fields.Dict(allow_none=True)
    fields_used = fields.List(
        fields.String(validate=_one_of(Field)),
        allow_none=True,
        metadata={"description": "What went into the prediction besides the picture."},
    )
    model_digest = fields.String(allow_none=True)
    preprocessing_version = fields.String(allow_none=True)
    engine = fields.String(allow_none=True)
    classified_at = fields.String(allow_none=True)


class ResultPage(Schema):
    """Results of a batch, most suspicious first."""

    results = fields.List(fields.Nested(Result))
    next_cursor = fields.String(allow_none=True)
    notice = fields.String()


class HeatMapQuery(Schema):
    """Which heat map."""

    class_ = fields.String(
        data_key="class",
        load_default=None,
        validate=_one_of(CLASSES),
        metadata={"description": "The predicted class if not given."},
    )


class Model(Schema):
    """A published model."""

    digest = fields.String()
    name = fields.String()
    state = fields.String(validate=_one_of(ModelState))
    published_by = fields.UUID()
    published_at = fields.AwareDateTime()


class ModelDetail(Model):
    """A model with everything its manifest says, and what its gate found."""

    manifest = fields.Dict()
    gate = fields.Dict(allow_none=True, metadata={"description": "None where it was not compared."})


class Models(Schema):
    """Every published model, newest first."""

    models = fields.List(fields.Nested(Model))


class Activation(Schema):
    """From this moment on a model served."""

    model_digest = fields.String()
    activated_by = fields.UUID()
    activated_at = fields.AwareDateTime()
    returned = fields.Boolean(metadata={"description": "The model had been active before."})


class AuditQuery(Schema):
    """Which events; every condition given must hold."""

    actor_id = fields.UUID(load_default=None)
    action = fields.Enum(Action, by_value=True, load_default=None)
    outcome = fields.Enum(Outcome, by_value=True, load_default=None)
    object_type = fields.String(load_default=None)
    object_id = fields.String(load_default=None)
    department_id = fields.UUID(load_default=None)
    since = _Moment(load_default=None)
    until = _Moment(load_default=None, metadata={"description": "Not included."})
    cursor = fields.Integer(load_default=None, metadata={"description": "`next_cursor` of the page before."})
    limit = _limit(100)


class AuditEvent(Schema):
    """One event of the chain."""

    seq = fields.Integer()
    recorded_at = fields.AwareDateTime()
    action = fields.String(validate=_one_of(Action))
    outcome = fields.String(validate=_one_of(Outcome))
    actor_id = fields.UUID(allow_none=True)
    actor_kind = fields.String(validate=_one_of(ActorKind))
    source = fields.String()
    request_id = fields.String(allow_none=True)
    department_id = fields.UUID(allow_none=True)
    object_type = fields.String(allow_none=True)
    object_id = fields.String(allow_none=True)
    details = fields.Dict()
    hash = fields.String()


class AuditPage(Schema):
    """Events, newest first."""

    events = fields.List(fields.Nested(AuditEvent))
    next_cursor = fields.Integer(allow_none=True)


class VerificationQuery(Schema):
    """How thoroughly."""

    full = fields.Boolean(
        load_default=False,
        metadata={"description": "Walk every event, not only those after the last checkpoint."},
    )


class Gap(Schema):
    """Signed events that a restored backup did not hold, accepted by an administrator."""

    first_seq = fields.Integer()
    last_seq = fields.Integer()
    signed_at = fields.AwareDateTime()
    accepted_at = fields.AwareDateTime()
    accepted_by = fields.String()
    reason = fields.String()


class Verification(Schema):
    """Whether the trail is the one that was written."""

    ok = fields.Boolean()
    events = fields.Integer()
    through_seq = fields.Integer()
    signed_through = fields.Integer()
    signed_at = fields.AwareDateTime(allow_none=True)
    first_bad_seq = fields.Integer(allow_none=True)
    changed_after = fields.AwareDateTime(allow_none=True)
    problem = fields.String()
    checkpoints = fields.Integer()
    gaps = fields.List(fields.Nested(Gap))
    seconds = fields.Float()


class Me(Schema):
    """Whom the token acts for, and what it may do."""

    id = fields.UUID()
    email = fields.String()
    name = fields.String()
    department = fields.String()
    roles = fields.List(fields.String())
    scopes = fields.List(fields.String())
