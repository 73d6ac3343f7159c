"""Addresses, and what of them may be shown."""

import pytest

from voicestatus.discord.rest.route import Route


def test_an_address_is_filled_in():
    route = Route.to("GET", "/guilds/{guild}/members/{user}", guild=7, user="@me")
    assert route.path == "/guilds/7/members/@me"
    assert (route.kind, route.major) == (
        ("GET", "/guilds/{guild}/members/{user}"),
        "7",
    )


def test_what_is_filled_in_cannot_change_the_address():
    assert Route.to("GET", "/invites/{code}", code="../a?b#c").path == (
        "/invites/..%2Fa%3Fb%23c"
    )


def test_people_are_not_named():
    route = Route.to("GET", "/guilds/{guild}/members/{user}", guild=7, user=8)
    assert route.name == "GET /guilds/7/members/{user}"
    assert "8" not in repr(route)


@pytest.mark.parametrize(
    "route",
    [
        Route.to("POST", "/webhooks/{webhook}/{token}", webhook=1, token="secret"),
        Route.to(
            "POST",
            "/interactions/{interaction}/{token}/callback",
            interaction=1,
            token="secret",
        ),
    ],
)
def test_a_token_is_never_shown_and_makes_limits_of_its_own(route):
    assert route.of_interaction
    assert "secret" in route.path
    assert "secret" in route.major
    assert "secret" not in repr(route) + str(route) + route.name
