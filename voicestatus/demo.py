"""The demo: a Discord of made-up people, and in words what their sign would show."""

import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from twisted.application.service import Service
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.logger import Logger

from voicestatus.core.lights import EVERYTHING, Light
from voicestatus.core.ports import Lights
from voicestatus.simulator.service import SimulatedDiscord
from voicestatus.web.listen import Listener

PEOPLE = 6
CHANGES_PER_S = 1.0

_WELCOME = """
This is voicestatus' demo: Discord is simulated, its people come and go.

  signs     {signs}
  token     {token}
  page      {site}, to sign in with {admin}
  admin     {site}/api/v1/devices, with the bearer token {admin}
  health    {site}/health
  metrics   {site}/metrics

Let three signs follow, in a second terminal:

  {command} simulate-signs --url {signs} --token {token} --count 3 --v2

and look at them in a third:

  {command} devices --server {site} --token {admin}

"""


def simulated_discord(
    guilds: Sequence[int], reactor: Any
) -> tuple[SimulatedDiscord, str]:
    """Make a Discord; return it and its API's address.

    Its port is taken at once, for whoever connects must know the address before.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    endpoint = AdoptedStreamServerEndpoint(reactor, listening.detach(), socket.AF_INET)
    discord = SimulatedDiscord(
        reactor, endpoint, guilds=guilds, people=PEOPLE, rate_per_s=CHANGES_PER_S
    )
    return discord, f"http://127.0.0.1:{port}/api/v10"


class Narrator(Service):
    """Says how to join in, then each change of the light."""

    _log = Logger()

    def __init__(
        self,
        listener: Listener,
        ws_path: str,
        tokens: Mapping[str, str],
        lights: Lights,
        out: TextIO,
    ) -> None:
        """`tokens` by their settings' names are shown; of others only the name is."""
        self._listener, self._ws_path, self._tokens = listener, ws_path, tokens
        self._lights, self._out = lights, out
        self._leave: Callable[[], object] = lambda: None

    def startService(self) -> None:
        super().startService()
        address = self._listener.address
        # Printed, not logged: the log hides every secret, and this one is for you.
        self._out.write(
            _WELCOME.format(
                signs=f"ws://{address}{self._ws_path}",
                site=f"http://{address}",
                token=self._tokens.get("ESP_AUTH_TOKEN", "$ESP_AUTH_TOKEN"),
                admin=self._tokens.get("ADMIN_TOKEN", "$ADMIN_TOKEN"),
                command=Path(sys.argv[0]).with_name("voicestatus"),
            )
        )
        self._out.flush()
        self._leave = self._lights.follow(EVERYTHING, self._tell, counted=True)

    def stopService(self) -> None:
        super().stopService()
        self._leave()

    def _tell(self, light: Light) -> None:
        if light.known:
            state = "on" if light.on else "off"
            self._log.info(
                "the light is {state}: {n} in voice", state=state, n=light.count
            )
