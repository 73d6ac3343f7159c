"""Everything that is kept, where, and for how long: one table. Pure.

A test compares `kinds` with what the program stores, so that none is left out.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Place(Enum):
    """Where something is."""

    STORE = "store"
    """The SQLite file, or Redis."""
    MEMORY = "memory"
    LOG = "log"
    BETWEEN_NODES = "between nodes"
    """Redis, where several nodes share one."""
    BROWSER = "browser"


class Of(Enum):
    """What it is about."""

    PEOPLE = "people"
    SIGNS = "signs"
    SERVER = "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One thing that is kept."""

    of: Of
    place: Place
    what: str
    until: str
    erased: str = ""
    """What erasing a person does with it; of people's alone."""
    kinds: tuple[str, ...] = ()
    """Those of its documents, or blobs, in the store."""


KEPT: Final = (
    Kept(
        of=Of.PEOPLE,
        place=Place.STORE,
        what="Who is in voice: their Discord id, name and the address of their avatar "
        "in that server, the channel, whether they are muted, deafened, sharing a "
        "screen or a camera, and the ids of their roles",
        until="they leave the channel",
        erased="Not while they are in voice: it is what the signs show. It goes when "
        "they leave.",
        kinds=("presence-voice",),
    ),
    Kept(
        of=Of.PEOPLE,
        place=Place.MEMORY,
        what="The same, for the page and the signs",
        until="they leave the channel",
        erased="As above.",
    ),
    Kept(
        of=Of.PEOPLE,
        place=Place.MEMORY,
        what="Who joined, left, moved or muted, for pages that were cut off for a "
        "moment: 256 times at most, while somebody watches",
        until="5 minutes after the last page was closed",
        erased="It goes by itself.",
    ),
    Kept(
        of=Of.PEOPLE,
        place=Place.BETWEEN_NODES,
        what="The changes of voice states, on their way to the other nodes",
        until="a minute has passed",
        erased="It goes by itself.",
    ),
    Kept(
        of=Of.PEOPLE,
        place=Place.MEMORY,
        what="The newest messages of a channel that somebody looks at, with their "
        "authors",
        until="15 seconds have passed",
        erased="It goes by itself.",
    ),
    Kept(
        of=Of.PEOPLE,
        place=Place.MEMORY,
        what="Whether somebody who is signed in is in a server, and their roles there",
        until="15 minutes have passed",
        erased="It goes by itself.",
    ),
    Kept(
        of=Of.PEOPLE,
        place=Place.STORE,
        what="Signing in: a digest of the session, when it began and was last used, "
        "what the browser calls itself, and the Discord id, name and avatar's address "
        "as they were",
        until="one signs out, or up to an hour after it ended: 24 hours after the last "
        "use, 7 days at most",
        erased="Deleted: one is signed out everywhere.",
        kinds=("session",),
    ),
    Kept(
        of=Of.PEOPLE,
        place=Place.STORE,
        what="That a sign-in was finished, so that nobody does it again: a digest that "
        "tells nothing of who it was",
        until="70 minutes have passed, at most",
        erased="It names nobody.",
        kinds=("sign-in",),
    ),
    Kept(
        of=Of.PEOPLE,
        place=Place.BROWSER,
        what="A cookie with the session's id; for 10 minutes one with the state of a "
        "sign-in; and whether the page is light or dark",
        until="one signs out, or 7 days have passed",
        erased="The cookie is taken away.",
    ),
    Kept(
        of=Of.PEOPLE,
        place=Place.STORE,
        what="A community's roster: Discord ids, their ranks, and who is a manager",
        until="they are taken off",
        erased="Deleted.",
        kinds=("organization-member",),
    ),
    Kept(
        of=Of.PEOPLE,
        place=Place.STORE,
        what="What admins and managers changed: when, what, from which address, and "
        "their Discord id if they signed in with it",
        until="90 days have passed",
        erased="The entry stays; the id in it is replaced, and the address of what "
        "they did is deleted.",
        kinds=("audit", "audit-day"),
    ),
    Kept(
        of=Of.PEOPLE,
        place=Place.STORE,
        what="Tokens for programs: a digest, a name, what they are good for, and who "
        "made them",
        until="they are revoked",
        erased="The token stays; who made it is replaced.",
        kinds=("api-token",),
    ),
    Kept(
        of=Of.PEOPLE,
        place=Place.MEMORY,
        what="Addresses of connections, and of those who showed wrong tokens, so that "
        "guessing is slow",
        until="the connection ends; for wrong tokens 10 minutes later",
        erased="It goes by itself; it names nobody.",
    ),
    Kept(
        of=Of.PEOPLE,
        place=Place.LOG,
        what="Addresses of those who were refused. No names and no ids of people",
        until="whoever runs this server deletes it",
        erased="It names nobody.",
    ),
    Kept(
        of=Of.SIGNS,
        place=Place.STORE,
        what="Signs: id, name, tags, rule, chip, board, firmware, when they were first "
        "and last seen, digests of their tokens. A rule may name people whom the sign "
        "waits for, by their Discord id",
        until="an admin forgets them",
        erased="The id is taken out of the rule.",
        kinds=("device",),
    ),
    Kept(
        of=Of.SIGNS,
        place=Place.MEMORY,
        what="Signs that are connected: address, signal, free memory, uptime",
        until="the server is started again",
    ),
    Kept(
        of=Of.SIGNS,
        place=Place.STORE,
        what="Digests of one-use tokens for new signs, with the id of the one that "
        "took it, and of tokens for downloads",
        until="an hour has passed and the next one is made",
        kinds=("ticket", "download"),
    ),
    Kept(
        of=Of.SIGNS,
        place=Place.STORE,
        what="Firmware, and how each sign fared with its updates",
        until="an admin deletes it, or newer ones take its place",
        kinds=("release", "image", "rollout", "rollout-device", "rollout-past"),
    ),
    Kept(
        of=Of.SERVER,
        place=Place.STORE,
        what="The bot's session with Discord, and when it began one",
        until="the next one",
        kinds=("gateway-session", "identify-times"),
    ),
    Kept(
        of=Of.SERVER,
        place=Place.STORE,
        what="Discord servers and their channels: ids and names",
        until="the bot is removed from there",
        kinds=("presence-guild",),
    ),
    Kept(
        of=Of.SERVER,
        place=Place.STORE,
        what="Communities: name, linked Discord server, settings, and the invites that "
        "the bot made",
        until="an admin deletes them; invites until they end",
        kinds=("organization", "organization-link"),
    ),
    Kept(
        of=Of.SERVER,
        place=Place.STORE,
        what="A few random letters, by which the doctor command tries the store",
        until="they were read again, at once",
        kinds=("doctor",),
    ),
)

NOTES: Final = (
    "Signs learn nothing about people: a sign is told on or off, and how many.",
    "No history is kept: who leaves a channel is deleted from it.",
    "Discord's tokens of those who sign in are used at once, given back, and not kept.",
    "Backups, and copies of the SQLite file from before an update, keep all they have.",
)
