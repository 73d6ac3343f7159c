"""What is said of one server."""

from dataclasses import replace

from voicestatus.core.bot_permissions import REQUESTED
from voicestatus.core.features import Feature
from voicestatus.core.permissions import (
    ADMINISTRATOR,
    MANAGE_ROLES,
    VIEW_CHANNEL,
    Overwrite,
)
from voicestatus.discord.rest.wire import Channel, Guild, Role
from voicestatus.doctor.finding import Finding, Verdict
from voicestatus.doctor.guilds import Bot, View, in_none, judge, not_in

GUILD, OWNER, BOT, OWN = 1, 2, 3, 11
HIDING = (Overwrite(GUILD, 0, VIEW_CHANNEL),)


def channel(id_: int, name: str, **more: object) -> Channel:
    return replace(Channel(id_, name, True, False, ()), **more)


LOUNGE, GAMES = channel(21, "Lounge"), channel(22, "Games")
TEXT = channel(23, "general", voice=False)


def view(*channels: Channel, everyone: int = VIEW_CHANNEL, own: int = 0) -> View:
    roles = (Role(GUILD, "@everyone", everyone, None), Role(OWN, "lamp", own, BOT))
    guild = Guild(GUILD, "Harbour", OWNER, None, roles)
    return View(guild, (TEXT, *channels), of({Feature.PRESENCE}), (OWN,))


def of(features: set[Feature]) -> Bot:
    return Bot(BOT, 5, frozenset(features))


def last(seen: View) -> Finding:
    return judge(seen)[-1]


def test_all_that_is_seen_is_named():
    finding = last(view(LOUNGE, GAMES))
    assert finding.verdict is Verdict.OK
    assert "sees Lounge, Games;" in finding.found


def test_a_channel_that_is_not_seen_is_named_with_the_role_that_lacks_it():
    finding = last(view(LOUNGE, replace(GAMES, overwrites=HIDING)))
    assert finding.verdict is Verdict.WARNING
    assert finding.found == "in Harbour the bot cannot see Games"
    assert 'add the role "lamp", allow View Channel' in finding.remedy


def test_a_server_where_nothing_is_seen_has_failed():
    finding = last(view(replace(GAMES, overwrites=HIDING)))
    assert finding.verdict is Verdict.FAILED


def test_a_role_that_may_view_nothing_at_all_is_told_where_to_switch_it_on():
    finding = last(view(everyone=0))
    assert finding.verdict is Verdict.FAILED
    assert finding.remedy == (
        'Server Settings > Roles > "lamp": switch on View Channels'
    )


def test_a_bot_without_a_role_of_its_own_is_told_to_get_one():
    bare = view(everyone=0)
    bare = replace(bare, guild=replace(bare.guild, roles=bare.guild.roles[:1]))
    assert "make a role" in last(bare).remedy


def test_an_entry_of_the_bot_itself_is_to_be_taken_away():
    own_entry = (Overwrite(BOT, 0, VIEW_CHANNEL, of_member=True),)
    finding = last(view(LOUNGE, replace(GAMES, overwrites=own_entry)))
    assert "take away the bot's own entry" in finding.remedy


def test_a_placeholder_is_not_taken_for_a_name():
    hidden = replace(GAMES, name="___hidden___", hidden=True)
    finding = last(view(LOUNGE, hidden))
    assert "cannot see channel 22" in finding.found


def test_an_afk_channel_that_is_left_out_is_missed():
    seen = view(LOUNGE)
    seen = replace(seen, guild=replace(seen.guild, afk_channel=99))
    assert "cannot see its AFK channel" in last(seen).found


def test_a_server_without_voice_channels_is_a_warning():
    assert last(view()).verdict is Verdict.WARNING


def test_an_administrator_is_a_warning_and_sees_all():
    findings = judge(view(replace(GAMES, overwrites=HIDING), own=ADMINISTRATOR))
    assert [f.verdict for f in findings] == [
        Verdict.OK,
        Verdict.WARNING,
        Verdict.OK,
    ]
    assert "take Administrator from" in findings[1].remedy


def test_many_channels_are_counted_and_not_listed():
    many = [channel(100 + n, f"Room {n}") for n in range(30)]
    assert "Room 9 and 20 more;" in last(view(*many)).found


def test_names_cannot_write_to_the_terminal():
    line = last(view(replace(LOUNGE, name="\x1b[2Jred\n"))).line()
    assert "\x1b" not in line
    assert "\n" not in line


ALLOWED_MUCH = {Feature.PRESENCE, Feature.COMMUNITY}


def test_what_a_feature_lacks_is_named_with_the_way_to_allow_it():
    seen = replace(view(LOUNGE, own=REQUESTED & ~MANAGE_ROLES), bot=of(ALLOWED_MUCH))
    finding = last(seen)
    assert finding.verdict is Verdict.WARNING
    assert finding.found == (
        "in Harbour community lacks Manage Roles (giving ranks their roles)"
    )
    assert f"permissions={REQUESTED}&guild_id={GUILD}" in finding.remedy
    assert last(replace(view(LOUNGE, own=REQUESTED), bot=of(ALLOWED_MUCH))).found == (
        "in Harbour the bot may do all that community needs"
    )


def test_where_the_bot_is_missing_it_can_be_invited_to_what_its_features_need():
    remedy = not_in(42, of({Feature.PRESENCE})).remedy
    assert all(
        part in remedy for part in ("client_id=5", "guild_id=42", "permissions=1024")
    )
    assert f"permissions={REQUESTED}" in in_none(of(ALLOWED_MUCH)).remedy
