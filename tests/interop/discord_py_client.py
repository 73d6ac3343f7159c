"""A bot made with discord.py that writes down what it sees, one JSON object a line.

Run as `python discord_py_client.py REST_URL GATEWAY_URL`: told nothing but addresses.
With `sharded` behind them it takes as many shards as it is recommended.
"""

import asyncio
import json
import sys

import discord
import yarl


class Witness(discord.Client):
    """Tells each thing it learns of voice, and how its connection fares."""

    async def on_shard_ready(self, shard: int) -> None:
        mine = [str(guild.id) for guild in self.guilds if guild.shard_id == shard]
        tell("shard_ready", shard=shard, guilds=mine)

    async def on_shard_resumed(self, shard: int) -> None:
        tell("shard_resumed", shard=shard)

    async def on_ready(self) -> None:
        for guild in self.guilds:
            voice = {
                str(member.id): str(channel.id)
                for channel in (*guild.voice_channels, *guild.stage_channels)
                for member in channel.members
            }
            afk = guild.afk_channel
            tell(
                "ready",
                user=str(self.user.id) if self.user else None,
                guild=str(guild.id),
                name=guild.name,
                rooms=len(guild.voice_channels),
                stages=len(guild.stage_channels),
                texts=len(guild.text_channels),
                roles=len(guild.roles),
                afk=str(afk.id) if afk else None,
                voice=voice,
            )

    async def on_resumed(self) -> None:
        tell("resumed")

    async def on_guild_join(self, guild: discord.Guild) -> None:
        tell("guild_join", guild=str(guild.id))

    async def on_voice_state_update(
        self,
        member: discord.Member,
        before: discord.VoiceState,
        after: discord.VoiceState,
    ) -> None:
        tell(
            "voice",
            user=str(member.id),
            name=member.name,
            before=str(before.channel.id) if before.channel else None,
            after=str(after.channel.id) if after.channel else None,
            self_mute=after.self_mute,
            afk=after.afk,
        )


class ShardedWitness(Witness, discord.AutoShardedClient):
    """The same, on several connections."""


def tell(kind: str, **fields: object) -> None:
    print(json.dumps({"kind": kind, **fields}), flush=True)  # noqa: T201 - its output


async def main(rest: str, gateway: str, sharded: str = "") -> None:
    discord.http.Route.BASE = rest
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)
    intents = discord.Intents(guilds=True, voice_states=True)
    kind = ShardedWitness if sharded else Witness
    async with kind(intents=intents) as witness:
        await witness.start("interop-token")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
