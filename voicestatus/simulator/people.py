"""A cast of made-up people who come, go, change rooms and write by themselves."""

import random
from collections.abc import Callable
from datetime import datetime

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from voicestatus.simulator.chatter import Chatter
from voicestatus.simulator.payloads import Guild, VoiceState
from voicestatus.simulator.stage import Stage
from voicestatus.simulator.world import Voice

NAMES = (
    *("ella", "frank", "grace", "hugo", "iris", "jonas", "kim", "leo", "mia", "noah"),
    *("olga", "pablo", "quinn", "rosa", "samir", "tess", "uma", "viktor", "wanda"),
    *("xenia", "yusuf", "zoe", "amara", "bjarne", "chiara", "dewi", "emeka", "freya"),
)
MAX_TICKS_PER_S = 100.0
TRIES = 16
FIDGET = 0.2
"""Part of the changes that neither bring nor take anybody."""
HABITS = ("mute", "mute", "mute", "deafen", "stream")
"""What who stays in a room does there."""
PART = 0.5
"""How often a crowd, once gathered, parts wholly: then a sign goes out."""
WRITE_EVERY_S = 30.0
CHANGES_FOR_A_LINE = 20.0
"""A slow cast writes more seldom, so that it is seldom beside what it changes."""


class People:
    """So many people in one guild, who make `rate_per_s` changes in voice, in waves."""

    def __init__(
        self,
        stage: Stage,
        guild: int,
        *,
        count: int,
        rate_per_s: float,
        rng: random.Random,
        clock: IReactorTime,
        now: Callable[[], datetime],
    ) -> None:
        self._stage, self._guild, self._rng = stage, guild, rng
        self._count, self._rate_per_s = count, rate_per_s
        self._cast: list[int] = []
        self._crowd = count
        """So many shall be in voice next."""
        self._owed = 0.0
        # Of its own: what is written must not hang on when it is.
        texts = random.Random(rng.random())  # noqa: S311 - a cast, not a secret
        self._chatter = Chatter(stage, guild, self._cast, texts, now)
        self._ticking = LoopingCall.withCount(self._tick)
        self._writing = LoopingCall(self._chatter.write)
        self._ticking.clock = self._writing.clock = clock

    @property
    def running(self) -> bool:
        """Whether they change anything by themselves now."""
        return bool(self._ticking.running)

    def start(self) -> None:
        """They become members, and have written, the first time; and begin."""
        newcomers = not self._cast
        for n in range(len(self._cast), self._count):
            lap, name = divmod(n, len(NAMES))
            user = self._stage.world.new_id()
            self._cast.append(user)
            shown = f"{NAMES[name]}-{lap}" if lap else NAMES[name]
            self._stage.meet(self._guild, user, shown)
        if newcomers:
            self._chatter.begin()
        if self._cast and self._rate_per_s > 0 and not self.running:
            self._ticking.start(1 / min(self._rate_per_s, MAX_TICKS_PER_S))
            slow_s = CHANGES_FOR_A_LINE / self._rate_per_s
            self._writing.start(max(WRITE_EVERY_S, slow_s), now=False)

    def stop(self) -> None:
        """They stay where they are."""
        if self.running:
            self._ticking.stop()
            self._writing.stop()

    def _tick(self, ticks: int) -> None:
        self._owed += ticks * max(1.0, self._rate_per_s / MAX_TICKS_PER_S)
        home = self._stage.world.guilds.get(self._guild)
        while self._owed >= 1:
            self._owed -= 1
            if home is not None:
                self._change(home)

    def _change(self, home: Guild) -> None:
        """One person does one thing."""
        if len(home.voice) == self._crowd:
            self._crowd = self._next_crowd()
        leaves = len(home.voice) > self._crowd
        fidgets = bool(home.voice) and self._rng.random() < FIDGET
        user = self._somebody(home, inside=leaves or fidgets)
        if user is None:  # all of the cast are, or none is
            self._crowd = self._next_crowd()
        elif fidgets:
            self._fidget(home, user)
        else:
            self._stage.voice(home.id, user, None if leaves else self._room(home))

    def _next_crowd(self) -> int:
        if self._crowd and self._rng.random() < PART:
            return 0
        return self._rng.randint(1, self._count)

    def _fidget(self, home: Guild, user: int) -> None:
        """Somebody in voice moves, or mutes, deafens, streams, or ends that."""
        state = home.voice[user]
        if self._rng.random() < 1 / 2:
            self._stage.voice(home.id, user, self._room(home))
        else:
            how = _changed(state, self._rng.choice(HABITS))
            self._stage.voice(home.id, user, state.channel, how)

    def _room(self, home: Guild) -> int | None:
        """Any channel where people talk; None if all were deleted."""
        return self._rng.choice(home.rooms) if home.rooms else None

    def _somebody(self, home: Guild, *, inside: bool) -> int | None:
        """Anyone of the cast who is, or is not, in voice; O(1)."""
        for _ in range(TRIES):
            user = self._rng.choice(self._cast)
            if (user in home.voice) == inside:
                return user
        return None


def _changed(state: VoiceState, habit: str) -> Voice:
    """As Discord's client does: who deafens is mute, who unmutes hears."""
    match habit:
        case "deafen":
            return Voice(self_mute=not state.self_deaf, self_deaf=not state.self_deaf)
        case "stream":
            return Voice(self_stream=not state.self_stream)
        case _:
            return Voice(self_mute=not state.self_mute, self_deaf=False)
