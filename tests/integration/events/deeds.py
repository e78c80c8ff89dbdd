"""For every route a request that succeeds: what stands in its address and its form, and who asks."""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dermabatch import accounts, model_store
from dermabatch.accounts import ADMINISTRATOR, ROLES_FOR_SCOPE, STAFF
from dermabatch.imaging.synthetic import lesion_jpeg
from tests.integration.events.house import Asker, House
from tests.situations import PASSWORD, person
from webui.policy import POLICY, Everybody, People, Programs, Rule

NEW_PASSWORD: Final = "quartz meadow lantern"


@dataclass(frozen=True)
class Request:
    """Values for the address, what else it brings, and who asks where it has to be somebody of its own."""

    values: Mapping[str, Any] = field(default_factory=dict)
    brings: Mapping[str, Any] = field(default_factory=dict)
    asker: Asker | None = None


Deed = Callable[[House], Request]


def send(house: House, endpoint: str, request: Request, asker: Asker | None = None) -> Any:
    """Ask as `asker`, else as the request says, else as somebody who may."""
    rule = next(rule for rule in house.app.url_map.iter_rules() if rule.endpoint == endpoint)
    method = "POST" if "POST" in rule.methods else "GET"
    path = house.app.url_map.bind("localhost").build(endpoint, dict(request.values), method)
    asker = asker or request.asker or who_may(house, POLICY[endpoint])
    return asker.ask(method, path, **_fresh(request.brings))


def who_may(house: House, rule: Rule) -> Asker:
    match rule:
        case Everybody():
            return house.stranger
        case People(roles=roles):
            return house.nurse if not roles or STAFF in roles else house.administrator
        case Programs(scope=scope):
            roles = ROLES_FOR_SCOPE[scope] if scope else {STAFF}
            who = house.hospital.nurse if STAFF in roles else house.hospital.administrator
            return house.program(who, scope or accounts.Scope.BATCHES_READ)


def _fresh(brings: Mapping[str, Any]) -> dict[str, Any]:
    """A client closes the files that it sends: each request gets its own."""
    data = {
        name: [(io.BytesIO(content), label) for content, label in value] if name in _FILES else value
        for name, value in brings.get("data", {}).items()
    }
    return {**brings, "data": data} if data else dict(brings)


_FILES: Final = ("files", "metadata")


def form(asker: Asker | None = None, **data: Any) -> Request:
    return Request(brings={"data": data}, asker=asker)


def _plain(_house: House) -> Request:
    return Request()


def _of(**values: Any) -> Deed:
    return lambda _house: Request(values)


def _upload(_house: House) -> Request:
    return form(files=[(lesion_jpeg(1, width=96, height=72), "a.jpg")])


def _own_batch(house: House) -> Request:
    return Request({"batch_id": house.new_batch()})


def _the_batch(house: House) -> Request:
    return Request({"batch_id": house.batch})


def _the_image(house: House) -> Request:
    return Request({"image_id": house.image})


def _uploaded_picture(house: House) -> Request:
    batch = send(house, "upload.create", _upload(house)).location
    page = house.nurse.client.get(f"{batch}?state=pending").text
    return _with_ticket(house, re.search(r"/images/([0-9a-f-]{36})", page)[1])


def _classified_picture(**values: Any) -> Deed:
    return lambda house: _with_ticket(house, house.image, **values)


def _with_ticket(house: House, image: Any, **values: Any) -> Request:
    page = house.nurse.client.get(f"/images/{image}").text
    return Request({"image_id": image, "ticket": re.search(r"ticket=([0-9a-f]+)", page)[1], **values})


def _sign_in(house: House) -> Request:
    user = house.new_person(STAFF)
    asker = Asker(house.app.test_client(), user, house.hospital.department)
    return form(asker, email=house.email_of(user), password=PASSWORD)


def _code(house: House) -> Request:
    user = house.new_person(STAFF)
    code = house.enrol(user)
    return form(house.browser(user, complete=False), code=code(1))


def _out(house: House) -> Request:
    return Request(asker=house.browser(house.hospital.nurse))


def _fresh_person(**data: Any) -> Deed:
    return lambda house: form(house.browser(house.new_person(STAFF)), **data)


def _end_session(house: House) -> Request:
    user = house.new_person(STAFF)
    here, there = house.browser(user), house.browser(user)
    page = here.client.get("/account").text
    ends = re.findall(r"/account/sessions/([0-9a-f-]+)/end", page)
    assert there.id == user
    return Request({"session_id": ends[0]}, asker=here)


def _revoke(house: House) -> Request:
    _, token_id = house.new_token(house.hospital.nurse, accounts.Scope.MODELS_READ)
    return Request({"token_id": token_id})


def _confirm(house: House) -> Request:
    user = house.new_person(STAFF)
    return form(house.browser(user), code=house.prepare_second_factor(user)(0))


def _enrolled(**data: Any) -> Deed:
    def ask(house: House) -> Request:
        user = house.new_person(STAFF)
        house.enrol(user)
        return form(house.browser(user), **data)

    return ask


def _model(house: House) -> Request:
    return Request({"digest": house.digest})


def _candidate(house: House) -> Request:
    return Request({"digest": house.new_model()})


def _roll_back(house: House) -> Request:
    model_store.activate(
        house.new_model(), actor=person(house.hospital.administrator), sessions=house.sessions
    )
    return Request()


def _new_user(house: House) -> Request:
    email = house.email_of(house.new_person()).replace("@", "@new.")
    return form(email=email, name="N", password=NEW_PASSWORD, department="Dermatology", roles=[STAFF])


def _somebody(**data: Any) -> Deed:
    return lambda house: Request({"user_id": house.new_person(STAFF)}, {"data": data})


def _somebody_enrolled(house: House) -> Request:
    user = house.new_person(STAFF)
    house.enrol(user)
    return Request({"user_id": user})


DEEDS: Final[Mapping[str, Deed]] = {
    "static": _of(filename="portal.css"),
    "help.show": _of(topic="reading"),
    "sign_in.check_password": _sign_in,
    "sign_in.check_code": _code,
    "sign_in.out": _out,
    "account.change_password": _fresh_person(current=PASSWORD, new=NEW_PASSWORD, again=NEW_PASSWORD),
    "account.sign_out_everywhere": _fresh_person(),
    "account.end_session": _end_session,
    "account.create_token": lambda _house: form(name="Camera", scopes=["models:read"]),
    "account.revoke_token": _revoke,
    "second_factor.prepare": _fresh_person(password=PASSWORD),
    "second_factor.confirm": _confirm,
    "second_factor.renew_codes": _enrolled(password=PASSWORD),
    "second_factor.remove": _enrolled(password=PASSWORD),
    "upload.create": _upload,
    "batch.show": _the_batch,
    "batch.progress": _the_batch,
    "batch.listing": _the_batch,
    "batch.export": _the_batch,
    "batch.cancel": _own_batch,
    "batch.retry": _own_batch,
    "images.show": _the_image,
    "images.picture": _uploaded_picture,
    "images.thumbnail": _classified_picture(),
    "images.heat_map": _classified_picture(**{"class": "mel"}),
    "models.show": _model,
    "models.activate": _candidate,
    "models.roll_back": _roll_back,
    "audit.show": _of(seq=1),
    "users.create": _new_user,
    "users.set_roles": _somebody(roles=[STAFF, ADMINISTRATOR]),
    "users.set_password": _somebody(password=NEW_PASSWORD),
    "users.disable": _somebody(),
    "users.enable": _somebody(),
    "users.sign_out": _somebody(),
    "users.reset_second_factor": _somebody_enrolled,
    "users.forget_guesses": _somebody(),
    "Batches.create": _upload,
    "Batches.show": _the_batch,
    "Batches.show_results": _the_batch,
    "Batches.export": _the_batch,
    "Batches.cancel": _own_batch,
    "Batches.retry": _own_batch,
    "Images.show": _the_image,
    "Images.thumbnail": _the_image,
    "Images.heat_map": _the_image,
    "Models.show": _model,
    "Models.activate": _candidate,
    "Models.roll_back": _roll_back,
}
"""By route; one that is not here needs nothing."""


def deed_of(endpoint: str) -> Deed:
    return DEEDS.get(endpoint, _plain)
