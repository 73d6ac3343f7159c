"""What the made-up people write when they do not talk."""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from voicestatus.simulator.payloads import TEXT
from voicestatus.simulator.stage import Stage

MINUTES_AGO = (183, 171, 96, 52, 33, 21, 9, 4)
"""When what is there at the start was written."""
LINES = (
    "Anyone up for a round tonight?",
    "Give me ten minutes, the kettle is on",
    "That last game was so close!",
    "The lamp in my hall just went on, so I knew you were here",
    "Who has the recipe from Sunday?",
    "I am in Lounge if somebody wants to talk",
    "Who else is hungry?",
    "My microphone is fixed at last. It was the cable.",
    "Same time tomorrow?",
    "I will be late, start without me",
    "Thanks for the help yesterday, it works now",
    "Can somebody send me the link again?",
    "Here it is: https://example.org/notes/thursday",
    "Good morning! It is snowing here",
    "I watched it twice. No spoilers, promised.",
    "Two of us are missing for the tournament on Saturday",
    "Count me in",
    "Me too, if the little one sleeps",
    "New headphones. You all sound like the radio now.",
    "I have to go, that was lovely. Good night!",
    "Who left their stream on?",
    "Not me, I have been asleep since nine",
    "The bread came out well this time",
    "Is it only me, or is it quiet today?",
    "We moved to Games, Lounge was full",
    "Could we keep Thursdays free for the band?",
    "Yes, please. I need the practice",
    "I wrote down what we said about the trip, read it when you can",
)


class Chatter:
    """Writes in a guild's text channels, as the cast; all lines before one again."""

    def __init__(
        self,
        stage: Stage,
        guild: int,
        cast: Sequence[int],
        rng: random.Random,
        now: Callable[[], datetime],
    ) -> None:
        self._stage, self._guild, self._cast = stage, guild, cast
        self._rng, self._now = rng, now
        self._lines: list[str] = []
        self._last: int | None = None

    def begin(self) -> None:
        """Write what was there before anybody looked."""
        for minutes in MINUTES_AGO:
            self.write(minutes)

    def write(self, minutes_ago: float = 0) -> None:
        """Somebody writes a line somewhere, unless nobody or no channel is left."""
        home = self._stage.world.guilds.get(self._guild)
        if home is None:
            return
        people = [user for user in self._cast if user in home.members]
        rooms = [room.id for room in home.channels.values() if room.type == TEXT]
        if not (people and rooms):
            return
        if not self._lines:
            self._lines = self._rng.sample(LINES, len(LINES))
        others = [user for user in people if user != self._last]
        self._last = user = self._rng.choice(others or people)
        room = self._rng.choice(rooms)
        at = self._now() - timedelta(minutes=minutes_ago)
        self._stage.write(room, user, self._lines.pop(), at.isoformat())
