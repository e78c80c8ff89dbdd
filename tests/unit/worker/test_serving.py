import math
import time
from dataclasses import dataclass, field

import pytest

from dermabatch.errors import ArtifactRefused, ServiceUnavailable
from tests.situations import detector
from worker.serving import ServedModel, Serving


@dataclass
class Engine:
    """Remembers whether it was closed; these tests never run it."""

    name: str = "none"
    closed: bool = False

    def close(self):
        self.closed = True


@dataclass
class Artifact:
    digest: str


@dataclass
class Registry:
    """Which model is active, which of them are broken, and what was said of those."""

    active: str | None = "first"
    broken: set[str] = field(default_factory=set)
    trouble: Exception | None = None
    loads: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def load(self, digest):
        self.loads.append(digest)
        if self.trouble is not None:
            raise self.trouble
        if digest in self.broken:
            raise ArtifactRefused("Expected another digest.")
        return ServedModel(Artifact(digest), Engine(), detector(), "openvino")

    def serving(self):
        return Serving(
            active_digest=lambda: self.active,
            load=self.load,
            on_refused=lambda digest, _: self.refusals.append(digest),
        )


def digest_served(serving):
    with serving.current() as model:
        return model.digest


def test_a_model_is_loaded_once():
    registry = Registry()
    serving = registry.serving()
    assert [digest_served(serving) for _ in range(3)] == ["first"] * 3
    assert registry.loads == ["first"]


def test_a_newly_activated_model_serves_from_the_next_chunk_on():
    registry = Registry()
    serving = registry.serving()
    digest_served(serving)
    registry.active = "second"
    assert digest_served(serving) == "second"


def test_a_chunk_in_hand_keeps_its_model_until_it_is_done():
    registry = Registry()
    serving = registry.serving()
    with serving.current() as first:
        registry.active = "second"
        with serving.current() as second:
            assert second.digest == "second"
            assert not first.engine.closed
    assert first.engine.closed
    assert not second.engine.closed


def test_a_model_that_is_refused_is_reported_once_and_the_old_one_serves_on():
    registry = Registry(broken={"second"})
    serving = registry.serving()
    digest_served(serving)
    registry.active = "second"
    assert [digest_served(serving) for _ in range(2)] == ["first", "first"]
    assert registry.refusals == ["second"]


def test_a_refusal_that_could_not_be_reported_is_reported_later():
    registry = Registry(broken={"second"})
    serving = registry.serving()
    digest_served(serving)
    registry.active = "second"
    report, registry.refusals = registry.refusals, None  # as if the database were away
    with pytest.raises(AttributeError):
        digest_served(serving)
    registry.refusals = report
    assert digest_served(serving) == "first"
    assert registry.refusals == ["second"]


def test_while_a_new_model_cannot_be_loaded_the_old_one_serves_on_and_the_new_one_is_tried_again(monkeypatch):
    registry = Registry()
    serving = registry.serving()
    digest_served(serving)
    registry.active = "second"
    registry.trouble = OSError("no space left on device")
    assert [digest_served(serving) for _ in range(3)] == ["first"] * 3
    assert registry.loads == ["first", "second"]
    registry.trouble = None
    monkeypatch.setattr(time, "monotonic", lambda: math.inf)
    assert digest_served(serving) == "second"


def test_trouble_with_the_only_model_is_told():
    registry = Registry(trouble=OSError("no space left on device"))
    with pytest.raises(OSError, match="no space"):
        digest_served(registry.serving())


def test_without_an_active_model_there_is_no_service():
    with pytest.raises(ServiceUnavailable, match="No model is active"):
        digest_served(Registry(active=None).serving())


def test_with_only_a_refused_model_there_is_no_service():
    with pytest.raises(ServiceUnavailable, match="cannot be served"):
        digest_served(Registry(broken={"first"}).serving())


def test_a_chunk_that_wants_another_model_gets_it_and_the_active_one_serves_on():
    registry = Registry()
    serving = registry.serving()
    digest_served(serving)
    for _ in range(2):
        with serving.wanted("candidate") as model:
            assert model.digest == "candidate"
    assert digest_served(serving) == "first"
    with serving.wanted("first") as model:
        assert model.digest == "first"
    assert registry.loads == ["first", "candidate"]


def test_one_guest_at_a_time_is_kept_and_none_is_closed_in_mid_chunk():
    serving = Registry().serving()
    with serving.wanted("candidate") as candidate, serving.wanted("another") as another:
        assert not candidate.engine.closed
    assert candidate.engine.closed
    assert not another.engine.closed


@pytest.mark.parametrize("trouble", [ArtifactRefused("changed"), OSError("no space left on device")])
def test_a_wanted_model_that_does_not_load_is_left_alone_for_a_while(monkeypatch, trouble):
    registry = Registry(trouble=trouble)
    serving = registry.serving()
    with pytest.raises(ServiceUnavailable), serving.wanted("candidate"):
        pass
    assert serving.unservable() == ["candidate"]
    assert registry.refusals == (["candidate"] if isinstance(trouble, ArtifactRefused) else [])
    monkeypatch.setattr(time, "monotonic", lambda: math.inf)
    assert serving.unservable() == []
