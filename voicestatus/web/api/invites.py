"""`/organizations/…/discord`: whether one is in the server, and how one gets in."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from voicestatus.community.invites import Invites, Unsure
from voicestatus.community.organizations import Organizations
from voicestatus.core.errors import Refusal
from voicestatus.web.api.endpoint import endpoint
from voicestatus.web.audit import Caller
from voicestatus.web.auth.identity import Level
from voicestatus.web.permits import ASKING, Permits
from voicestatus.web.views import at

PATH = "/organizations/<organization>/discord"


class InServer(Struct, frozen=True, rename="camel"):
    """Whether who asks is in the linked server."""

    in_server: Annotated[
        bool | None, Meta(description="null: nobody can say; `reason` is why")
    ]
    linked: Annotated[bool, Meta(description="whether one signed in with Discord")]
    reason: Annotated[
        str | None,
        Meta(extra_json_schema={"enum": [None, *(each.value for each in Unsure)]}),
    ]


class ServerInvite(Struct, frozen=True, rename="camel"):
    """An invite to the linked server, for as many people as one likes."""

    url: Annotated[str, Meta(examples=["https://discord.gg/hTKzmak"])]
    code: str
    expires_at: datetime
    cached: Annotated[bool, Meta(description="whether it was made for others before")]


class InvitesSubject:
    """The way into the linked server."""

    def __init__(
        self, invites: Invites, organizations: Organizations, permits: Permits
    ) -> None:
        self._invites, self._organizations = invites, organizations
        self._permits = permits

    @endpoint(
        "GET",
        f"{PATH}/in-server",
        level=Level.GUEST,
        refuses=("ORGANIZATION_NOT_FOUND", "STORE_UNAVAILABLE"),
    )
    async def in_server(self, organization: str, caller: Caller) -> InServer:
        """Tell whether one is in the linked server, by Discord's word.

        It may be 5 minutes old if it is yes, and 30 seconds if it is no.
        """
        user = caller.who.user
        found = await self._organizations.get(organization)
        linked = user is not None
        match await self._invites.inside(found, user):
            case Unsure() as why:
                return InServer(in_server=None, linked=linked, reason=why.value)
            case answer:
                return InServer(in_server=answer, linked=linked, reason=None)

    @endpoint(
        "GET",
        f"{PATH}/server-invite",
        level=Level.GUEST,
        refuses=(
            "ORGANIZATION_NOT_FOUND",
            "NO_LINKED_DISCORD_SERVER",
            "ALREADY_IN_DISCORD_SERVER",
            "NO_INVITE_CHANNEL",
            "INVITE_LIMIT",
            *ASKING,
        ),
    )
    async def server_invite(self, organization: str, caller: Caller) -> ServerInvite:
        """Hand out an invite to the linked server, for members who are not in it."""
        user = caller.who.user
        if user is None:
            raise Refusal("DISCORD_NOT_LINKED", "Sign in with Discord.")
        found = await self._organizations.get(organization)
        await self._permits.member(caller, found)
        handed = await self._invites.invite(found, user)
        invite = handed.invite
        return ServerInvite(
            invite.url, invite.code, at(invite.expires_at), handed.cached
        )
