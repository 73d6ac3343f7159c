"""Addresses of the API, and what of them may be shown. Pure."""

from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import quote

_MAJOR: Final = ("guild", "channel", "webhook", "interaction", "token")
_SHOWN: Final = ("guild", "channel")


@dataclass(frozen=True, slots=True)
class Route:
    """One address. Neither its `repr` nor its `name` holds a token or a person."""

    method: str
    template: str
    name: str = field(compare=False)
    """For logs and errors: the ids of guilds and channels alone are filled in."""
    path: str = field(repr=False)
    major: str = field(repr=False)
    """Calls that differ in it have limits of their own.

    Source: Discord docs, Rate Limits, "Top-level resources".
    """

    @classmethod
    def to(cls, method: str, template: str, **values: int | str) -> Self:
        """Fill in a template such as `/guilds/{guild}/members/{user}`."""
        filled = {name: quote(str(value), safe="@") for name, value in values.items()}
        shown = {
            name: value if name in _SHOWN else f"{{{name}}}"
            for name, value in filled.items()
        }
        return cls(
            method,
            template,
            f"{method} {template.format(**shown)}",
            template.format(**filled),
            "/".join(filled[name] for name in _MAJOR if name in filled),
        )

    @property
    def kind(self) -> tuple[str, str]:
        """What stands for the limit until Discord has named the bucket."""
        return self.method, self.template

    @property
    def of_interaction(self) -> bool:
        """Whether the global limit does not count it; a token stands in its path.

        Source: Discord docs, Rate Limits, "Global Rate Limit".
        """
        return "{token}" in self.template


GATEWAY_BOT: Final = Route.to("GET", "/gateway/bot")
