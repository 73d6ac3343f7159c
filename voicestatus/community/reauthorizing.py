"""What is answered where the bot lacks a permission, and where to grant it."""

from voicestatus.community.application import OwnApplication
from voicestatus.core.bot_permissions import invitation, missing_in
from voicestatus.core.errors import Refusal
from voicestatus.core.ids import ChannelId, GuildId


class Reauthorizing:
    """Makes refusals that lead to Discord's page on which an admin authorizes again."""

    def __init__(self, application: OwnApplication) -> None:
        self._application = application

    async def refusal(
        self, guild: GuildId, bits: int, channel: ChannelId | None = None
    ) -> Refusal:
        """Name the permissions that are missing, and where.

        :raises Refusal: when nobody tells which application we are.
        """
        missing = missing_in(0, bits)
        names = ", ".join(each.name for each in missing)
        where = "server" if channel is None else "channel"
        return Refusal(
            "MISSING_PERMISSION",
            f"The bot lacks in this {where}: {names}.",
            missing=[
                {"name": each.name, "bit": str(each.bit), "neededFor": each.needed_for}
                for each in missing
            ],
            guildId=str(guild),
            channelId=None if channel is None else str(channel),
            reauthorizeUrl=invitation(await self._application.id(), guild),
        )
