"""What many different rules cost while people come and go.

    python -m benchmarks.rules RULES GUILDS CHANGES_PER_S SECONDS

Prints one JSON object.
"""

import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from random import Random
from time import perf_counter, process_time
from typing import Any

import msgspec
from twisted.internet import reactor as installed
from twisted.internet.task import LoopingCall

from benchmarks.payloads import ALL_INTENTS, GUILD
from benchmarks.plan import Plan
from benchmarks.process import SERVER_CORE, BenchmarkError, running
from voicestatus.core.ids import GuildId, UserId
from voicestatus.core.lights import Light, RuleText
from voicestatus.core.matching import Counting
from voicestatus.core.presence import Presence, SessionBegan
from voicestatus.core.rules import parse, write
from voicestatus.discord.gateway import wire
from voicestatus.hub import Hub
from voicestatus.lights import LightGroups
from voicestatus.simulator.payloads import CATEGORY, Guild
from voicestatus.simulator.world import Dispatch, Voice, World

MEMBERS, IN_VOICE, ROOMS, ROLES, ROLES_EACH = 100, 40, 12, 20, 4
WARM_UP_S = 2
TICK_S = 0.01
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe")

Measured = dict[str, float]


def measure(plan: Plan) -> Measured:
    """Measure in a process of its own."""
    sizes = (plan.rules, plan.rule_guilds, plan.rule_rate_per_s, plan.rule_s)
    command = (sys.executable, "-m", "benchmarks.rules", *map(str, sizes))
    with running(command, SERVER_CORE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
    if not line:
        raise BenchmarkError("the measurement of rules has died; it says why above")
    return msgspec.json.decode(line, type=Measured)


# ---- what happens ------------------------------------------------------------------


def world_of(guilds: int) -> World:
    world = World([GUILD + 1])
    for n in range(guilds):
        id_ = GUILD + 2 + n
        world.add_guild(id_, members=MEMBERS, in_voice=IN_VOICE)
        for _ in range(ROOMS):
            world.add_channel(id_)
        guild = world.guilds[id_]
        parents = cycle(categories_of(guild))
        for room in guild.rooms:
            guild.channels[room].parent = next(parents)
        roles = cycle(roles_of(guild))
        for member in guild.members.values():
            member.roles = tuple(next(roles) for _ in range(ROLES_EACH))
            member.changed()
            next(roles)  # so that not all sets are of the same few
    del world.guilds[GUILD + 1]
    return world


def categories_of(guild: Guild) -> list[int]:
    return [c.id for c in guild.channels.values() if c.type == CATEGORY]


def roles_of(guild: Guild) -> list[int]:
    return [guild.id + (n + 1) * 10**12 for n in range(ROLES)]


def people_of(world: World, guild: Guild) -> list[int]:
    return [user for user in guild.members if user != world.bot.id]


def day(world: World, many: int) -> list[bytes]:
    """So many voice changes all over the guilds: in, about, and out again."""
    random, told = Random(0), list[Dispatch]()
    guilds = [(g, people_of(world, g), g.rooms) for g in world.guilds.values()]
    while len(told) < many:
        guild, people, rooms = random.choice(guilds)
        user = random.choice(people)
        if user not in guild.voice:
            told += world.join(guild.id, user, random.choice(rooms))
        elif random.random() < 0.25:
            told += world.leave(guild.id, user)
        else:
            how = Voice(self_mute=random.random() < 0.3)
            told += world.join(guild.id, user, random.choice(rooms), how)
    return [message(dispatch) for dispatch in told[:many]]


def message(told: Dispatch) -> bytes:
    body = told.body if isinstance(told.body, bytes) else told.body(ALL_INTENTS)
    return b'{"t":"%b","s":1,"op":0,"d":%b}' % (told.name.encode(), body)


# ---- what is asked for -------------------------------------------------------------


def rules_of(world: World, many: int) -> Iterator[RuleText]:
    """So many different rules, of each kind in each guild, with all that they can."""
    guilds = list(world.guilds.values())
    for n in range(many):
        variant, at = divmod(n, len(guilds))
        yield write(parse(_asked(world, guilds[at], variant) | _looks(n, variant)))


def _asked(world: World, guild: Guild, variant: int) -> dict[str, object]:
    here: dict[str, object] = {"guilds": [str(guild.id)]}
    people, turn = people_of(world, guild), variant // 6
    match variant % 6:
        case 0:
            return here | {"minCount": 1 + turn * 3}
        case 1:
            return {"channels": [str(guild.rooms[turn % len(guild.rooms)])]}
        case 2:
            categories = categories_of(guild)
            return {"categories": [str(categories[turn % len(categories)])]}
        case 3:
            return {
                "users": [str(people[(turn * 5 + n) % len(people)]) for n in (0, 1, 2)]
            }
        case 4:
            return {
                "roles": [str(roles_of(guild)[turn % ROLES])],
                "minCount": 1 + turn % 4,
            }
        case _:
            return here | {"countBots": turn % 2 == 0, "streaming": turn % 3 == 0}


def _looks(n: int, variant: int) -> dict[str, object]:
    """Delays for a half, quiet hours for a third, another colour for each."""
    looks: dict[str, object] = {"color": f"#{n:06x}"}
    if variant % 2:
        looks |= {"onDelayS": 1 + variant % 3, "offDelayS": 2, "minOnS": variant % 5}
    if variant % 3 == 0:
        zone = ZONES[variant % len(ZONES)]
        looks["quiet"] = [
            {"from": "23:00", "to": f"{5 + variant % 4:02}:00", "tz": zone}
        ]
    return looks


# ---- the measurement ---------------------------------------------------------------


class _House:
    """Presence and lights whose followers only count what they are told."""

    def __init__(self, reactor: Any, world: World) -> None:
        self.told = 0
        self.hub = Hub(Presence())
        self.lights = LightGroups(
            self.hub, reactor, time.time, Counting(), 60.0, hold=True
        )
        self.lights.startService()
        guilds = frozenset(map(GuildId, world.guilds))
        self.hub.apply(SessionBegan(0, UserId(world.bot.id), guilds))
        for guild in world.guilds.values():
            create = Dispatch("GUILD_CREATE", guild.id, world.guild_create(guild))
            self.take(message(create))

    def follow(self, rules: list[RuleText]) -> None:
        """Follow each; every other one with its count."""
        for n, rule in enumerate(rules):
            self.lights.follow(rule, self.tell, counted=n % 2 == 0)

    def tell(self, _: Light) -> None:
        self.told += 1

    def take(self, told: bytes) -> None:
        """Take a message as Discord sends it."""
        self.hub.apply(wire.decode(told).body)  # type: ignore[union-attr,arg-type] # ours


class _Run:
    """Feeds changes at a rate; notes what that costs once it is warm."""

    def __init__(
        self, reactor: Any, house: _House, changes: list[bytes], rate: int
    ) -> None:
        self._reactor, self._house = reactor, house
        self._changes, self._fed, self._rate = changes, 0, rate
        self._longest_s = 0.0

    def over(self, seconds: int) -> Measured:
        self._began = self._reactor.seconds()
        feeding = LoopingCall(self._feed)
        feeding.start(TICK_S)
        self._reactor.callLater(WARM_UP_S, self._note)
        self._reactor.callLater(WARM_UP_S + seconds, self._reactor.stop)
        self._reactor.run()
        cpu, wall = process_time() - self._cpu, perf_counter() - self._wall
        return {
            "cpu_percent": 100 * cpu / wall,
            "rate_per_s": (self._fed - self._noted) / wall,
            "told_per_s": (self._house.told - self._told) / wall,
            "longest_ms": self._longest_s * 1e3,
        }

    def _note(self) -> None:
        self._cpu, self._wall = process_time(), perf_counter()
        self._noted, self._told, self._longest_s = self._fed, self._house.told, 0.0

    def _feed(self) -> None:
        due = int((self._reactor.seconds() - self._began) * self._rate)
        for change in self._changes[self._fed : due]:
            began = perf_counter()
            self._house.take(change)
            self._longest_s = max(self._longest_s, perf_counter() - began)
        self._fed = min(due, len(self._changes))


def main() -> None:
    """Measure and print."""
    many, guilds, rate, seconds = map(int, sys.argv[1:])
    world = world_of(guilds)
    rules = list(rules_of(world, many))
    if len(set(rules)) < many:
        raise BenchmarkError("two of the rules are the same")
    reactor: Any = installed
    house = _House(reactor, world)
    began = process_time()
    house.follow(rules)
    followed = process_time() - began
    changes = day(world, rate * (seconds + WARM_UP_S + 1))
    measured = _Run(reactor, house, changes, rate).over(seconds)
    measured["follow_us"] = followed / max(1, many) * 1e6
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main()
