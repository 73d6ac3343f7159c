"""`/rules`: what a rule would do."""

from typing import Annotated, Any, Protocol

from msgspec import Meta, Struct

from voicestatus.core import rules
from voicestatus.core.errors import Refusal
from voicestatus.core.explanation import Explanation
from voicestatus.core.lights import RuleText
from voicestatus.core.quiet import DAYS
from voicestatus.web import views
from voicestatus.web.api.endpoint import endpoint
from voicestatus.web.api.reading import invalid
from voicestatus.web.auth.identity import Scope


def _time(pattern: str, example: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{pattern}$", "examples": [example]}


# `core.rules` judges; a test holds this to it.
_IDS = {
    "type": "array",
    "items": {"type": "string", "pattern": "^[0-9]{1,20}$"},
    "minItems": 1,
    "maxItems": rules.MAX_IDS,
}
_FLAG = {"type": "boolean"}
_SECONDS = {"type": "number", "minimum": 0, "maximum": rules.MAX_SECONDS}
_QUIET = {
    "type": "object",
    "properties": {
        "days": {
            "type": "array",
            "items": {"enum": [*DAYS]},
            "minItems": 1,
            "maxItems": len(DAYS),
        },
        "from": _time(r"([01][0-9]|2[0-3]):[0-5][0-9]", "23:00"),
        "to": _time(r"(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)", "07:00"),
        "tz": {"type": "string", "examples": ["Europe/Berlin"]},
    },
    "required": ["from", "to", "tz"],
    "additionalProperties": False,
}
RULE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("guilds", "channels", "categories", "users", "roles"), _IDS),
        **dict.fromkeys(
            ("event", "speaking", "streaming", "countBots", "countAfk"), _FLAG
        ),
        **dict.fromkeys(("onDelayS", "offDelayS", "minOnS"), _SECONDS),
        "minCount": {"type": "integer", "minimum": 1, "maximum": rules.MAX_COUNT},
        "quiet": {
            "type": "array",
            "items": _QUIET,
            "minItems": 1,
            "maxItems": rules.MAX_QUIET,
        },
        "unknown": {"enum": [*rules.UNKNOWN]},
        "pattern": {"enum": [*rules.PATTERNS]},
        "color": {"type": "string", "pattern": "^#[0-9A-Fa-f]{6}$"},
        "brightness": {"type": "integer", "minimum": 0, "maximum": 255},
    },
    "additionalProperties": False,
    "examples": [{"minCount": 2}],
}
RuleBody = Annotated[
    # `core.rules` reads it: it knows more than a schema can say.
    dict[str, Any],
    Meta(description="A rule: docs/rules.md.", extra_json_schema=RULE_SCHEMA),
]


class Explainer(Protocol):
    """Who knows why a light is as it is."""

    def explain(self, rule: RuleText) -> Explanation: ...


class DryRun(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A rule to try."""

    rule: RuleBody


class RulesSubject:
    """Rules, before a sign has them."""

    def __init__(self, explainer: Explainer) -> None:
        self._explainer = explainer

    @endpoint("POST", "/rules/dry-run", scope=Scope.READ)
    def dry_run(self, body: DryRun) -> views.Explanation:
        """Tell what a rule would show now, and why; nothing changes."""
        return views.explanation_of(self._explainer.explain(read_rule(body.rule)))


def read_rule(document: dict[str, Any]) -> RuleText:
    """Check a rule; return the one text of all that mean the same.

    :raises Refusal: `VALIDATION_FAILED`, with the `key` below `rule` that is wrong.
    """
    try:
        return rules.write(rules.parse(document))
    except Refusal as e:
        within = e.details.get("key")
        raise invalid(f"rule.{within}" if within else "rule", e.message) from e
