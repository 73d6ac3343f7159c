"""What people and the bot do besides talking: write, invite, plan, press, sign in."""

from collections.abc import Callable

from voicestatus.simulator.accounts import Accounts
from voicestatus.simulator.invites import Invites
from voicestatus.simulator.messages import Messages
from voicestatus.simulator.presses import Presses
from voicestatus.simulator.scheduled import Events
from voicestatus.simulator.world import World


class Community:
    """All of it in one world; `new_token` makes what nobody can guess."""

    def __init__(self, world: World, new_token: Callable[[], str]) -> None:
        self.messages, self.invites = Messages(world), Invites(world)
        self.events = Events(world)
        self.presses = Presses(world, self.messages, new_token)
        self.accounts = Accounts(new_token)
