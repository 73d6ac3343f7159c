"""Signing in: the page of consent, codes, tokens."""

import base64
import json
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

BACK = "https://status.example.org/auth/discord/callback"
BASIC = "Basic " + base64.b64encode(b"app:secret").decode()


@pytest.fixture
def pkce():
    file = Path(__file__).parents[1] / "fixtures/derived/pkce_case.json"
    return json.loads(file.read_text())


def consent(api, **more):
    query = {
        "response_type": "code",
        "client_id": "app",
        "scope": "identify guilds",
        "state": "s1",
        "redirect_uri": BACK,
    } | more
    status, said = api.ask(
        "GET", f"/oauth2/authorize?{urlencode(query)}", at="site", authorization=None
    )
    if status != 302:
        return status, said
    where = api.header("location")
    assert where.startswith(BACK)
    return status, dict(parse_qsl(urlsplit(where).query))


def post(api, path, authorization=BASIC, **form):
    return api.ask(
        "POST",
        path,
        authorization=authorization,
        data=urlencode(form).encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )


def exchange(api, code, **more):
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK}
    return post(api, "/oauth2/token", **(form | more))


def sign_in(api, **more):
    code = consent(api, **more)[1]["code"]
    status, tokens = exchange(api, code)
    assert status == 200
    return tokens


def me(api, tokens, path="/users/@me"):
    return api.ask("GET", path, authorization=f"Bearer {tokens['access_token']}")


def test_who_comes_to_the_page_consents_and_goes_back(api):
    status, brought = consent(api)
    assert status == 302
    assert brought["state"] == "s1"
    assert brought["code"]


def test_who_does_not_consent_goes_back_with_an_error(api):
    api.accounts.consents = False
    _, brought = consent(api)
    assert (brought["error"], brought["state"]) == ("access_denied", "s1")
    assert "code" not in brought


@pytest.mark.parametrize(
    "wrong",
    [
        {"response_type": "token"},
        {"client_id": ""},
        {"redirect_uri": ""},
        {"scope": "everything"},
        {"code_challenge": "x", "code_challenge_method": "plain"},
    ],
)
def test_a_wrong_question_is_not_sent_back(api, wrong):
    assert consent(api, **wrong)[0] == 400


def test_tokens_have_the_fields_of_discords_own(api, fixture_data):
    theirs = fixture_data("rest/oauth_token")
    tokens = sign_in(api)
    assert tokens.keys() == theirs.keys()
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 604_800)
    assert tokens["scope"] == "guilds identify"


def test_who_signed_in_is_told_and_their_guilds(api, fixture_data):
    tokens = sign_in(api)
    _, user = me(api, tokens)
    assert user["username"] == "ada"
    assert user.keys() >= fixture_data("rest/users_me_oauth").keys()
    _, guilds = me(api, tokens, "/users/@me/guilds")
    assert [(guild["id"], guild["owner"]) for guild in guilds] == [
        (str(api.home.id), True)
    ]
    assert guilds[0].keys() == fixture_data("rest/users_me_guilds")[0].keys()


def test_what_they_are_in_a_guild_is_told_with_its_scope(api):
    tokens = sign_in(api, scope="identify guilds.members.read")
    status, member = me(api, tokens, f"/users/@me/guilds/{api.home.id}/member")
    assert (status, member["user"]["username"]) == (200, "ada")
    _, about = me(api, tokens, "/oauth2/@me")
    assert about["scopes"] == ["guilds.members.read", "identify"]
    assert about["user"]["username"] == "ada"
    assert api.ask("GET", "/oauth2/@me")[0] == 401


def test_an_unknown_kind_of_grant_is_refused(api):
    _, said = post(api, "/oauth2/token", grant_type="password")
    assert said["error"] == "unsupported_grant_type"


def test_a_broken_authorization_is_refused(api):
    for wrong in ("Basic ???", "Bearer x"):
        status, said = post(api, "/oauth2/token", wrong, grant_type="refresh_token")
        assert (status, said["error"]) == (401, "invalid_client")


def test_somebody_else_can_sit_at_the_browser(api):
    api.accounts.signed_in = next(
        user.id for user in api.world.users.values() if user.name == "cy"
    )
    assert me(api, sign_in(api))[1]["username"] == "cy"


def test_what_was_not_granted_is_not_shown(api):
    tokens = sign_in(api, scope="identify")
    status, said = me(api, tokens, "/users/@me/guilds")
    assert (status, said["code"]) == (403, 50026)
    assert me(api, tokens, f"/guilds/{api.home.id}")[0] == 401


def test_a_code_is_good_once_and_for_a_minute(api):
    code = consent(api)[1]["code"]
    assert exchange(api, code)[0] == 200
    assert exchange(api, code)[1]["error"] == "invalid_grant"
    late = consent(api)[1]["code"]
    api.clock.advance(60)
    assert exchange(api, late)[1]["error"] == "invalid_grant"


def test_a_code_is_good_for_its_own_way_back_and_client(api):
    code = consent(api)[1]["code"]
    elsewhere = "https://elsewhere.example"
    status, said = exchange(api, code, redirect_uri=elsewhere)
    assert (status, said["error"]) == (400, "invalid_grant")
    code = consent(api, client_id="other")[1]["code"]
    assert exchange(api, code)[0] == 400


def test_a_challenge_wants_its_verifier(api, pkce):
    shown = {
        "code_challenge": pkce["code_challenge"],
        "code_challenge_method": "S256",
    }
    right = pkce["code_verifier"]
    for verifier, error in (
        (right, None),
        (right[::-1], "invalid_grant"),
        ("short", "invalid_request"),
        ("", "invalid_request"),
    ):
        code = consent(api, **shown)[1]["code"]
        _, said = exchange(api, code, code_verifier=verifier)
        assert said.get("error") == error


def test_a_refresh_token_is_good_once(api):
    tokens = sign_in(api)
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    status, renewed = post(api, "/oauth2/token", **form)
    assert status == 200
    assert renewed["refresh_token"] != tokens["refresh_token"]
    assert post(api, "/oauth2/token", **form)[1]["error"] == "invalid_grant"
    assert me(api, tokens)[0] == 401
    assert me(api, renewed)[0] == 200


def test_revoking_one_token_voids_all_of_that_authorization(api):
    first, second = sign_in(api), sign_in(api)
    assert post(api, "/oauth2/token/revoke", token=first["access_token"]) == (200, {})
    assert me(api, first)[0] == me(api, second)[0] == 401
    assert post(api, "/oauth2/token/revoke", token="unknown") == (200, {})


def test_a_token_lasts_a_week(api):
    tokens = sign_in(api)
    api.clock.advance(604_800)
    assert me(api, tokens)[0] == 401


def test_a_wrong_secret_is_refused(make_api):
    api = make_api(client_secret="right")
    code = consent(api)[1]["code"]
    status, said = exchange(api, code)
    assert (status, said["error"]) == (401, "invalid_client")
    form = {"client_id": "app", "client_secret": "right"}
    assert exchange(api, code, authorization=None, **form)[0] == 200


def test_json_is_not_taken_for_a_form(api):
    status, said = api.ask("POST", "/oauth2/token", {"code": "x"}, authorization=BASIC)
    assert (status, said["error"]) == (400, "invalid_request")
