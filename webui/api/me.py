"""Who am I?"""

from typing import Any

from webui.api import schemas
from webui.api.access import caller, resource, token_scopes

blueprint = resource("Token", "", "Whom it acts for")


@blueprint.get("/me")
@blueprint.response(200, schemas.Me)
def show() -> dict[str, Any]:
    """Whom the token acts for, and what it may do."""
    user = caller()
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "department": user.department.name,
        "roles": sorted(role.name for role in user.roles),
        "scopes": token_scopes(),
    }
