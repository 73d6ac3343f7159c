"""What is answered to a client's questions. Pure.

Each function gives whole messages, numbered in the session that asked.
"""

from voicestatus.simulator import intents
from voicestatus.simulator.payloads import VOICE_LIKE, Guild, Json, Member, encode
from voicestatus.simulator.sessions import Session
from voicestatus.simulator.world import World

CHUNK = 1000
MAX_FOUND = 100
MAX_NONCE_BYTES = 32
ALL_MEMBERS_AGAIN_S = 30.0


def members(world: World, session: Session, data: Json, now: float) -> list[bytes]:
    """Answer op 8: members by id, by the beginning of a name, or all of them.

    :raises ValueError: for an id that is none.
    Source: Discord docs, Gateway Events, "Request Guild Members".
    """
    guild, query = snowflake(data.get("guild_id")), data.get("query")
    home = world.guilds.get(guild)
    if home is None or home.unavailable or not session.covers(guild):
        return []
    nonce = data.get("nonce")
    echo: Json = (
        {"nonce": nonce}
        if isinstance(nonce, str) and len(nonce.encode()) <= MAX_NONCE_BYTES
        else {}
    )
    if not isinstance(query, str):
        wanted = data.get("user_ids")
        ids = wanted if isinstance(wanted, list) else [wanted]
        asked = [snowflake(one) for one in ids[:MAX_FOUND]]
        found = [home.members[user] for user in asked if user in home.members]
        missing = [str(user) for user in asked if user not in home.members]
        return _chunks(session, home, found, {"not_found": missing} | echo)
    limit = snowflake(data.get("limit") or 0)
    if query or limit:
        found = [
            member
            for member in home.members.values()
            if member.user.name.startswith(query.lower())
        ]
        most = min(limit or MAX_FOUND, MAX_FOUND)
        return _chunks(session, home, found[:most], {"not_found": []} | echo)
    if not session.intents & intents.GUILD_MEMBERS:
        return []
    last = session.members_asked_at.get(guild)
    if last is not None and now - last < ALL_MEMBERS_AGAIN_S:
        wait_s = round(last + ALL_MEMBERS_AGAIN_S - now, 3)
        meta = {"guild_id": str(guild)} | echo
        told: Json = {"opcode": 8, "retry_after": wait_s, "meta": meta}
        return [session.tell("RATE_LIMITED", encode(told))]
    session.members_asked_at[guild] = now
    return _chunks(session, home, list(home.members.values()), {"not_found": []} | echo)


def sounds(world: World, session: Session, data: Json) -> list[bytes]:
    """Answer op 31: no guild here has sounds of its own.

    :raises ValueError: for an id that is none.
    Source: Discord docs, Gateway Events, "Request Soundboard Sounds".
    """
    ids = data.get("guild_ids")
    asked = [snowflake(one) for one in ids] if isinstance(ids, list) else []
    return [
        session.tell(
            "SOUNDBOARD_SOUNDS",
            encode({"guild_id": str(guild), "soundboard_sounds": []}),
        )
        for guild in asked
        if guild in world.guilds and session.covers(guild)
    ]


def channel_info(world: World, session: Session, data: Json) -> list[bytes]:
    """Answer op 43 with every voice channel; none here has a status or a start.

    :raises ValueError: for an id that is none.
    Source: Discord docs, Gateway Events, "Request Channel Info".
    """
    guild, fields = snowflake(data.get("guild_id")), data.get("fields")
    home = world.guilds.get(guild)
    if home is None or not isinstance(fields, list) or not session.covers(guild):
        return []
    known = [name for name in ("status", "voice_start_time") if name in fields]
    channels = [
        {"id": str(channel.id)} | dict.fromkeys(known)
        for channel in home.channels.values()
        if channel.type in VOICE_LIKE
    ]
    body = encode({"guild_id": str(guild), "channels": channels})
    return [session.tell("CHANNEL_INFO", body)]


def snowflake(given: object) -> int:
    """Read an id or another number.

    :raises ValueError: when it is none.
    """
    return int(str(given))


def _chunks(
    session: Session, home: Guild, found: list[Member], rest: Json
) -> list[bytes]:
    parts = [found[n : n + CHUNK] for n in range(0, len(found), CHUNK)] or [[]]
    return [
        session.tell(
            "GUILD_MEMBERS_CHUNK",
            encode(
                {
                    "guild_id": str(home.id),
                    "members": [member.encoded() for member in part],
                    "chunk_index": index,
                    "chunk_count": len(parts),
                }
                | rest
            ),
        )
        for index, part in enumerate(parts)
    ]
