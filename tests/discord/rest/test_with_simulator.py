"""The client and the simulator, which were written from the same documentation apart:
real buckets, real permissions, a line with latency, and no network."""

import random
from urllib.parse import parse_qs, urlsplit

import pytest
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from voicestatus.discord.rest.errors import (
    AlreadyAnswered,
    DiscordBusy,
    DiscordUnreachable,
    InvalidBody,
    MissingAccess,
    MissingPermissions,
    OAuthRefused,
    UnknownInteraction,
    UnknownInvite,
    UnknownMember,
    UnknownMessage,
)
from voicestatus.discord.rest.messages import Button, Embed
from voicestatus.discord.rest.scheduled_events import EventDraft, EventStatus, Place
from voicestatus.simulator.payloads import Overwrite

GUILD = 1187000000000000001
VIEW, SEND, INVITE = 1 << 10, 1 << 11, 1 << 0


def rest_log(talk):
    return [entry for entry in talk.discord.log() if entry["kind"] == "rest"]


def statuses(talk):
    return [entry["status"] for entry in rest_log(talk)]


def deny(talk, name, bits):
    room = talk.home.channels[talk.room(name)]
    room.overwrites = (Overwrite(GUILD, deny=bits), Overwrite(own(talk).id, deny=bits))


def own(talk):
    return next(role for role in talk.home.roles if role.bot is not None)


def role(talk, name):
    return next(each.id for each in talk.home.roles if each.name == name)


# -- each thing once ---------------------------------------------------------------


def test_a_message_is_written_changed_read_and_deleted(simulated):
    talk = simulated()
    room = talk.room("general")
    box = Embed(title="Tonight", footer="voicestatus")
    made = talk.run(talk.rest.create_message(room, "hello", embeds=[box], nonce="n1"))
    again = talk.run(talk.rest.create_message(room, "hello", nonce="n1"))
    assert again.id == made.id
    edited = talk.run(talk.rest.edit_message(room, made.id, "bye"))
    assert (edited.content, edited.edited_at is None) == ("bye", False)
    (listed,) = talk.run(talk.rest.messages(room))
    assert listed == talk.run(talk.rest.message(room, made.id)) == edited
    talk.run(talk.rest.delete_message(room, made.id))
    with pytest.raises(UnknownMessage):
        talk.run(talk.rest.edit_message(room, made.id, "x"))


def test_the_guild_is_seen_as_it_is(simulated):
    talk = simulated()
    guild = talk.run(talk.rest.guild(GUILD))
    assert (guild.system_channel, guild.owner) == (talk.home.system, talk.home.owner)
    roles = talk.run(talk.rest.roles(GUILD))
    assert {role.id for role in roles} == {role.id for role in talk.home.roles}
    channels = talk.run(talk.rest.channels(GUILD))
    assert {channel.id for channel in channels} == set(talk.home.channels)
    members = talk.run(talk.rest.members(GUILD))
    assert {member.user.id for member in members} == set(talk.home.members)
    talk.discord.world.add_guild(77)
    talk.discord.world.meet(77, 5)
    with pytest.raises(UnknownMember):
        talk.run(talk.rest.member(GUILD, 5))


def test_roles_are_given_and_taken_with_a_reason(simulated):
    talk = simulated()
    user, dj = talk.home.owner, role(talk, "DJ")
    talk.run(talk.rest.give_role(GUILD, user, dj, reason="Rang für Ada"))
    assert dj in talk.run(talk.rest.member_roles(GUILD, user))
    talk.run(talk.rest.take_role(GUILD, user, dj))
    assert dj not in talk.run(talk.rest.member_roles(GUILD, user))
    assert rest_log(talk)[0]["reason"] == "Rang für Ada"
    with pytest.raises(MissingPermissions):
        talk.run(talk.rest.give_role(GUILD, user, role(talk, "Mods")))


def test_an_invite_is_made_looked_up_listed_and_taken_back(simulated):
    talk = simulated()
    own(talk).permissions |= 1 << 4
    room = talk.room("general")
    made = talk.run(talk.rest.create_invite(room, reason="asked for"))
    assert (made.channel, made.guild) == (room, GUILD)
    assert talk.run(talk.rest.create_invite(room)).code == made.code
    assert talk.run(talk.rest.invite(made.code)).expires_at == made.expires_at
    (listed,) = talk.run(talk.rest.channel_invites(room))
    assert listed.code == made.code
    talk.run(talk.rest.delete_invite(made.code))
    with pytest.raises(UnknownInvite):
        talk.run(talk.rest.invite(made.code))


def test_what_is_not_seen_and_what_is_not_allowed_are_told_apart(simulated):
    talk = simulated()
    deny(talk, "general", VIEW)
    with pytest.raises(MissingAccess):
        talk.run(talk.rest.create_invite(talk.room("general")))
    deny(talk, "off-topic", SEND | INVITE)
    with pytest.raises(MissingPermissions):
        talk.run(talk.rest.create_invite(talk.room("off-topic")))
    with pytest.raises(MissingPermissions):
        talk.run(talk.rest.create_message(talk.room("off-topic"), "x"))


def test_a_field_that_is_too_long_is_named(simulated):
    talk = simulated()
    boxes = [Embed(title="x" * 257)]
    with pytest.raises(InvalidBody) as refused:
        talk.run(talk.rest.create_message(talk.room("general"), embeds=boxes))
    (said,) = refused.value.fields
    assert said.startswith("embeds.0.title: BASE_TYPE_MAX_LENGTH")


def test_an_event_is_planned_begun_and_ended(simulated):
    talk = simulated()
    starts = talk.run(talk.rest.create_message(talk.room("general"), "x")).at
    draft = EventDraft(
        name="Raid",
        place=Place.VOICE,
        channel=talk.home.rooms[0],
        starts_at=starts.replace(year=starts.year + 1),
    )
    event = talk.run(talk.rest.create_scheduled_event(GUILD, draft))
    assert talk.run(talk.rest.scheduled_events(GUILD)) == (event,)
    for status in (EventStatus.ACTIVE, EventStatus.COMPLETED):
        change = EventDraft(status=status)
        changed = talk.run(talk.rest.edit_scheduled_event(GUILD, event.id, change))
        assert changed.status == status
    assert talk.run(talk.rest.scheduled_events(GUILD)) == ()
    outside = EventDraft(
        name="Pier",
        place=Place.EXTERNAL,
        location="Pier 7",
        starts_at=draft.starts_at,
        ends_at=draft.starts_at.replace(year=starts.year + 2),
    )
    event = talk.run(talk.rest.create_scheduled_event(GUILD, outside))
    assert event.location == "Pier 7"
    talk.run(talk.rest.delete_scheduled_event(GUILD, event.id))


def test_a_press_is_acknowledged_and_answered_to_the_presser_alone(simulated):
    talk = simulated()
    room, user = talk.room("general"), talk.home.owner
    rows = [[Button("Join", custom_id="join")]]
    message = talk.run(talk.rest.create_message(room, "x", rows=rows))
    _, id_ = talk.discord.stage.press(room, message.id, user, "join")
    press = talk.discord.community.presses.find(id_)
    talk.run(talk.rest.acknowledge(id_, press.token))
    with pytest.raises(AlreadyAnswered):
        talk.run(talk.rest.acknowledge(id_, press.token))
    bot = talk.discord.world.bot.id
    talk.run(talk.rest.tell_presser(bot, press.token, "You are in"))
    assert press.told[0]["content"] == "You are in"
    talk.clock.advance(5)
    _, late = talk.discord.stage.press(room, message.id, user, "join")
    talk.clock.advance(5)
    token = talk.discord.community.presses.find(late).token
    with pytest.raises(UnknownInteraction):
        talk.run(talk.rest.acknowledge(late, token))
    assert token not in repr(talk.discord.log())


# -- signing in --------------------------------------------------------------------


def consent(talk, oauth, verifier, scopes=("identify", "guilds")):
    """What a browser does; answer the code that it brings back."""
    url = oauth.authorize_url("https://x.example/back", "s1", verifier, scopes)
    asked = talk.agent.request(b"GET", url.encode())
    answers = []
    asked.addCallback(answers.append)
    talk.clock.pump([0.5, 0.5])
    where = answers[0].headers.getRawHeaders("location")[0]
    query = parse_qs(urlsplit(where).query)
    assert query["state"] == ["s1"]
    return query["code"][0]


def test_somebody_signs_in_renews_and_signs_out(simulated):
    talk = simulated(client_secret="s3cret/:%")
    oauth, back = talk.rest.oauth("app", "s3cret/:%"), "https://x.example/back"
    verifier = "v" * 43
    grant = talk.run(oauth.exchange(consent(talk, oauth, verifier), back, verifier))
    assert grant.scopes == {"identify", "guilds"}
    user = talk.run(oauth.user(grant.access_token))
    assert (user.id, user.name) == (talk.home.owner, "ada")
    (guild,) = talk.run(oauth.guilds(grant.access_token))
    assert (guild.id, guild.owner) == (GUILD, True)
    renewed = talk.run(oauth.refresh(grant.refresh_token))
    with pytest.raises(OAuthRefused):
        talk.run(oauth.refresh(grant.refresh_token))
    talk.run(oauth.revoke(renewed.access_token))
    with pytest.raises(OAuthRefused):
        talk.run(oauth.refresh(renewed.refresh_token))


def test_a_verifier_that_is_another_is_refused(simulated):
    talk = simulated()
    oauth = talk.rest.oauth("app", "secret")
    code = consent(talk, oauth, "v" * 43)
    with pytest.raises(OAuthRefused) as refused:
        talk.run(oauth.exchange(code, "https://x.example/back", "w" * 43))
    assert refused.value.reason == "invalid_grant"


# -- limits ------------------------------------------------------------------------


def test_a_thousand_calls_meet_no_429_and_all_are_answered(simulated):
    talk, dice = simulated(), random.Random(7)
    general, other = talk.room("general"), talk.room("off-topic")
    dj, people = role(talk, "DJ"), list(talk.home.members)
    coroutines = [talk.rest.messages(general) for _ in range(160)]
    coroutines += [talk.rest.create_message(other, str(n)) for n in range(60)]
    coroutines += [
        (talk.rest.give_role if n % 2 else talk.rest.take_role)(
            GUILD, dice.choice(people), dj
        )
        for n in range(80)
    ]
    coroutines += [talk.rest.member(GUILD, dice.choice(people)) for _ in range(700)]
    asked = [talk.ask(coroutine)[0] for coroutine in coroutines]
    for _ in range(9000):
        if all(asked):
            break
        talk.agent.latency_s = dice.uniform(0.0, 0.3)
        talk.clock.advance(0.01)
    assert all(asked)
    assert not any(isinstance(results[0], Failure) for results in asked)
    assert 429 not in statuses(talk)
    assert talk.clock.seconds() < 75
    written = [m.content for m in talk.discord.community.messages.newest(other)]
    assert sorted(written, key=int) == [str(n) for n in range(60)]


def test_calls_of_one_bucket_are_made_in_their_order(simulated):
    talk = simulated()
    room = talk.room("general")
    asked = [talk.ask(talk.rest.create_message(room, str(n)))[0] for n in range(20)]
    while not all(asked):
        talk.clock.advance(0.1)
    written = [m.content for m in talk.discord.community.messages.newest(room)]
    assert written == [str(n) for n in range(20)][::-1]


def test_a_cancelled_call_is_never_made_and_keeps_nobody_waiting(simulated):
    talk = simulated()
    room = talk.room("general")
    calls = [talk.ask(talk.rest.create_message(room, str(n))) for n in range(30)]
    for _, cancel in calls[1:29]:
        cancel()
    talk.clock.pump([0.1] * 5)
    assert [m.content for m in talk.discord.community.messages.newest(room)] == [
        "29",
        "0",
    ]
    assert all(results[0].check(CancelledError) for results, _ in calls[1:29])


@pytest.mark.parametrize("scope", ["user", "shared", "global"])
def test_a_429_out_of_the_blue_is_waited_out(simulated, scope):
    talk = simulated()
    talk.discord.fault("rate_limit", route="/guilds", seconds=3.0, scope=scope)
    began = talk.clock.seconds()
    talk.run(talk.rest.guild(GUILD))
    assert 3.0 < talk.clock.seconds() - began < 3.5
    assert statuses(talk) == [429, 200]


def test_a_ban_is_told_to_who_cannot_wait(simulated):
    talk = simulated()
    talk.discord.fault("rate_limit", seconds=600.0, scope="banned")
    with pytest.raises(DiscordBusy) as busy:
        talk.run(talk.rest.within(10.0).guild(GUILD))
    assert busy.value.wait_s == pytest.approx(600, abs=1)


def test_a_page_of_the_proxy_is_asked_again_only_where_that_is_safe(simulated):
    talk = simulated()
    talk.discord.fault("http_error", code=502)
    talk.run(talk.rest.guild(GUILD))
    talk.discord.fault("http_error", code=502)
    with pytest.raises(DiscordUnreachable):
        talk.run(talk.rest.create_message(talk.room("general"), "x"))
    assert statuses(talk) == [502, 200, 502]


def test_refusals_end_long_before_the_ip_is_banned(simulated):
    talk = simulated(invalid_limit=600)
    deny(talk, "general", VIEW)
    room = talk.room("general")
    asked = [talk.ask(talk.rest.messages(room))[0] for _ in range(2000)]
    for _ in range(500):
        talk.clock.advance(1.0)
    assert all(isinstance(results[0], Failure) for results in asked)
    assert statuses(talk).count(403) == len(statuses(talk)) <= 510
