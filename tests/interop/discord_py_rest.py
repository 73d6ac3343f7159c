"""A bot made with discord.py that works by REST, and says what came of it.

Run as `python discord_py_rest.py REST_URL GATEWAY_URL`: told nothing but addresses.
"""

import asyncio
import json
import sys
import time

import discord
import yarl

MANY = 8
"""Messages, of which a bucket takes five."""


class Worker(discord.Client):
    """Does each thing once, in the first guild, and hears of it by the gateway."""

    def __init__(self, intents: discord.Intents) -> None:
        super().__init__(intents=intents)
        self.heard, self.heard_all = 0, asyncio.Event()

    async def on_ready(self) -> None:
        guild = self.guilds[0]
        try:
            await self.write(next(c for c in guild.text_channels))
            await self.invite(next(c for c in guild.text_channels))
            await self.give_and_take(guild)
            await self.look_around(guild)
            await self.be_refused(guild)
            await self.write_too_much(guild.text_channels[1])
            # The gateway is another connection: it may be behind.
            await asyncio.wait_for(self.heard_all.wait(), 5)
        except Exception as e:  # noqa: BLE001 - its own test reads it
            tell("failed", error=repr(e))
        await self.close()

    async def write(self, channel: discord.TextChannel) -> None:
        embed = discord.Embed(title="Tonight", colour=0x5865F2)
        embed.add_field(name="Ada", value="in")
        view = discord.ui.View()
        view.add_item(discord.ui.Button(label="Join", custom_id="join"))
        nobody = discord.AllowedMentions.none()
        message = await channel.send(
            "hello", embed=embed, view=view, allowed_mentions=nobody
        )
        edited = await message.edit(content="bye", embed=None)
        listed = [each async for each in channel.history(limit=5)]
        tell(
            "wrote",
            id=str(message.id),
            embed=message.embeds[0].fields[0].value,
            buttons=len(message.components),
            content=edited.content,
            left=len(edited.embeds),
            listed=[each.content for each in listed],
        )
        await message.delete()
        try:
            await channel.fetch_message(message.id)
        except discord.NotFound as e:
            tell("deleted", code=e.code)

    async def invite(self, channel: discord.TextChannel) -> None:
        invite = await channel.create_invite(
            max_age=3600, unique=False, reason="für alle"
        )
        found = await self.fetch_invite(invite.code)
        tell("invited", code=invite.code, found=found.code, age=invite.max_age)

    async def give_and_take(self, guild: discord.Guild) -> None:
        role = discord.utils.get(guild.roles, name="DJ")
        member = await guild.fetch_member(guild.owner_id or 0)
        assert role is not None
        await member.add_roles(role)
        held = [each.name for each in (await guild.fetch_member(member.id)).roles]
        await member.remove_roles(role)
        left = [each.name for each in (await guild.fetch_member(member.id)).roles]
        tell("roles", held=held, left=left)

    async def look_around(self, guild: discord.Guild) -> None:
        members = [str(member.id) async for member in guild.fetch_members()]
        channels = [str(channel.id) for channel in await guild.fetch_channels()]
        tell("seen", members=members, channels=channels)

    async def be_refused(self, guild: discord.Guild) -> None:
        mods = discord.utils.get(guild.roles, name="Mods")
        member = await guild.fetch_member(guild.owner_id or 0)
        assert mods is not None
        try:
            await member.add_roles(mods)
        except discord.Forbidden as e:
            tell("refused", code=e.code)

    async def write_too_much(self, channel: discord.TextChannel) -> None:
        began = time.monotonic()
        await asyncio.gather(*(channel.send(str(n)) for n in range(MANY)))
        tell("waited", seconds=time.monotonic() - began)

    async def on_message(self, message: discord.Message) -> None:
        self.heard += 1
        if self.heard == 1 + MANY:
            self.heard_all.set()
        tell("heard", id=str(message.id))

    async def on_message_delete(self, message: discord.Message) -> None:
        tell("heard_delete", id=str(message.id))

    async def on_member_update(self, _: discord.Member, after: discord.Member) -> None:
        tell("heard_roles", roles=len(after.roles))


def tell(kind: str, **fields: object) -> None:
    print(json.dumps({"kind": kind, **fields}), flush=True)  # noqa: T201 - its output


async def main(rest: str, gateway: str) -> None:
    discord.http.Route.BASE = rest
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)
    intents = discord.Intents(guilds=True, members=True, guild_messages=True)
    intents.message_content = True
    async with Worker(intents=intents) as worker:
        await worker.start("interop-token")
    tell("end")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
