"""Tokens and enrolment: who is let in, who gets a token, and who never."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from voicestatus.core.fleet import (
    MAX_TOKENS,
    ROTATION_WINDOW_S,
    Device,
    Enrolment,
    Fleet,
    Record,
    Standing,
    Vitals,
    digest_of,
    is_id,
    is_own,
    is_used,
    issue,
    standing,
    use,
    wants_newer,
)

NEW = Record(id="A1")


def with_tokens(*digests: str, at: float = 0.0) -> Record:
    record = NEW
    for digest in digests:
        record = issue(record, digest, at)
    return record


def digests(record: Record) -> list[str]:
    return [token.digest for token in record.tokens]


@pytest.mark.parametrize("id_", ["a", "24:6F:28:aa.bb_cc-dd", "x" * 64])
def test_what_a_device_may_be_called(id_):
    assert is_id(id_)


@pytest.mark.parametrize("id_", ["", "a b", "a/b", "é", "x" * 65, "conn-1", "a\n"])
def test_what_a_device_may_not_be_called(id_):
    assert not is_id(id_)


@given(st.text())
def test_an_id_needs_no_escaping_in_an_address(text):
    assert not is_id(text) or re.fullmatch(r"[A-Za-z0-9._:-]+", text)


def test_a_devices_own_token_is_known_by_its_beginning():
    assert is_own(b"vsd_x")
    assert not is_own(b"secret")


# ---- tokens ------------------------------------------------------------------------


def test_the_first_use_of_a_token_ends_the_older_ones_after_the_window():
    record = use(with_tokens("a", "b", "c"), "b", 100)
    assert [token.ends_at for token in record.tokens] == [
        100 + ROTATION_WINDOW_S,
        None,
        None,
    ]
    assert [token.first_used_at for token in record.tokens] == [None, 100, None]


def test_a_later_use_changes_nothing():
    record = use(with_tokens("a", "b"), "b", 100)
    assert use(record, "b", 200) is record


def test_an_end_that_is_set_is_not_put_off():
    record = use(use(with_tokens("a", "b", "c"), "b", 0), "c", 100)
    assert record.tokens[0].ends_at == ROTATION_WINDOW_S


def test_what_has_ended_is_not_kept():
    record = use(with_tokens("a", "b"), "b", 0)
    assert digests(issue(record, "c", ROTATION_WINDOW_S)) == ["b", "c"]
    later = use(issue(record, "c", 1), "c", ROTATION_WINDOW_S)
    assert digests(later) == ["b", "c"]


def test_of_too_many_the_oldest_goes_but_not_the_one_in_use():
    assert digests(with_tokens("a", "b", "c", "d", "e")) == ["b", "c", "d", "e"]
    record = use(with_tokens("a"), "a", 0)
    for digest in "bcde":
        record = issue(record, digest, 1)
    assert digests(record) == ["a", "c", "d", "e"]


def test_an_unused_token_of_the_shared_one_ends_when_another_is_used():
    record = issue(NEW, "admin's", 0)
    for digest in ("before", "mine", "after"):
        record = issue(record, digest, 0, provisional=True)
    assert digests(use(record, "mine", 100)) == ["admin's", "mine"]
    assert digests(use(record, "admin's", 100)) == ["admin's"]
    later = issue(use(record, "mine", 100), "rotated", 200)
    assert digests(use(later, "mine", 300)) == ["admin's", "mine", "rotated"]


def test_who_knows_the_shared_token_cannot_push_an_admins_token_out():
    record = issue(NEW, "admin's", 0)
    for digest in "bcdefg":
        record = issue(record, digest, 1, provisional=True)
    assert digests(record) == ["admin's", "e", "f", "g"]


def test_a_provisional_token_is_good_though_four_others_were_made():
    record = issue(with_tokens("a", "b", "c", "d"), "e", 1, provisional=True)
    assert digests(record) == ["b", "c", "d", "e"]
    assert digests(issue(record, "f", 1)) == ["c", "d", "e", "f"]


def test_who_missed_a_newer_token_wants_one():
    record = with_tokens("a", "b")
    assert wants_newer(record, "a")
    assert not wants_newer(record, "b")
    assert not wants_newer(use(record, "b", 0), "a")


# ---- enrolment ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "enrolment", "outcome"),
    [
        (None, Enrolment.OPEN, Standing.ENROLS),
        (None, Enrolment.APPROVE, Standing.WAITS),
        (None, Enrolment.CLOSED, Standing.STRANGER),
        (NEW, Enrolment.CLOSED, Standing.ENROLS),
        (replace(NEW, approved=False), Enrolment.OPEN, Standing.WAITS),
        (replace(NEW, revoked=True), Enrolment.OPEN, Standing.REVOKED),
        (with_tokens("a"), Enrolment.OPEN, Standing.ENROLS),
        (use(with_tokens("a"), "a", 0), Enrolment.OPEN, Standing.USED),
    ],
)
def test_what_a_hello_after_the_shared_token_comes_to(record, enrolment, outcome):
    assert standing(record, enrolment) is outcome


# ---- the table ---------------------------------------------------------------------


def test_a_token_is_found_until_it_ends_or_its_device_is_revoked_or_gone():
    fleet = Fleet()
    record = use(with_tokens("a", "b"), "b", 0)
    fleet.put(record)
    assert fleet.bearer("a", 1) is fleet.bearer("b", 1) is record
    assert fleet.bearer("a", ROTATION_WINDOW_S) is None
    assert fleet.bearer("c", 1) is None
    fleet.put(replace(record, revoked=True))
    assert fleet.bearer("b", 1) is None
    fleet.put(record)
    fleet.remove("A1")
    fleet.remove("A1")
    assert fleet.bearer("b", 1) is None
    assert len(fleet) == 0


def test_a_token_that_a_record_has_no_more_is_forgotten():
    fleet = Fleet()
    fleet.put(with_tokens("a"))
    fleet.put(with_tokens("b"))
    assert fleet.bearer("a", 0) is None
    assert fleet.bearer("b", 0) is not None


def test_devices_are_listed_by_id():
    fleet = Fleet()
    for id_ in "cab":
        fleet.put(Record(id=id_))
    assert [record.id for record in fleet] == ["a", "b", "c"]


def test_a_device_is_connected_while_it_has_been_since():
    assert not Device(NEW, Vitals()).connected
    assert Device(NEW, Vitals(connected_at=1)).connected
    assert Device(NEW, Vitals()).id == "A1"


class TokenMachine(RuleBasedStateMachine):
    """One device, its server's table, and an admin, against what was promised.

    The device keeps what it is told and shows what it has kept last; a welcome may be
    lost on the way. A thief who knows the shared token says that he is the device.
    """

    @initialize()
    def begin(self):
        self.fleet = Fleet()
        self.now = 0.0
        self.made = 0
        self.kept: str | None = None
        """What the device has stored."""
        self.promised: list[str] = []
        """All that it was given or an admin was, oldest first."""
        self.used: set[str] = set()
        self.by_shared: set[str] = set()
        """Those that the shared token was enough for."""
        self.stolen: list[str] = []

    def _make(self) -> str:
        self.made += 1
        self.promised.append(token := digest_of(b"%d" % self.made))
        return token

    def _issue(self, record: Record, *, by_shared: bool = False) -> str:
        token = self._make()
        self.fleet.put(issue(record, token, self.now, provisional=by_shared))
        if by_shared:
            self.by_shared.add(token)
        return token

    def _show(self, token: str) -> Record | None:
        bearer = self.fleet.bearer(token, self.now)
        if bearer is None:
            return None
        self.fleet.put(record := use(bearer, token, self.now))
        self.used.add(token)
        return record

    @property
    def record(self) -> Record | None:
        return self.fleet.get("A1")

    @rule(lost=st.booleans())
    def says_hello_with_the_shared_token(self, lost):
        outcome = standing(self.record, Enrolment.OPEN)
        if self.used & set(self.promised):
            assert outcome in {Standing.USED, Standing.REVOKED}
        if outcome is Standing.ENROLS:
            token = self._issue(self.record or NEW, by_shared=True)
            self.kept = self.kept if lost else token

    @precondition(lambda self: self.record)
    @rule()
    def is_impersonated(self):
        if standing(self.record, Enrolment.OPEN) is Standing.ENROLS:
            self.stolen.append(self._issue(self.record, by_shared=True))

    @precondition(lambda self: self.stolen)
    @rule(data=st.data())
    def is_robbed(self, data):
        self._show(data.draw(st.sampled_from(self.stolen)))

    @precondition(lambda self: self.kept)
    @rule(lost=st.booleans())
    def shows_its_token(self, lost):
        record = self._show(self.kept)
        if record is not None and wants_newer(record, self.kept):
            token = self._issue(record)
            self.kept = self.kept if lost else token

    @precondition(lambda self: self.record)
    @rule(typed_in=st.booleans())
    def is_rotated(self, typed_in):
        token = self._issue(self.record)
        self.kept = token if typed_in else self.kept

    @precondition(lambda self: self.record)
    @rule(revoked=st.booleans())
    def is_revoked_or_not(self, revoked):
        self.fleet.put(replace(self.record, revoked=revoked))

    @precondition(lambda self: self.record)
    @rule()
    def is_forgotten(self):
        self.fleet.remove("A1")
        self.promised.clear()
        self.kept = None

    @rule(seconds=st.sampled_from([1, 300, ROTATION_WINDOW_S, 10_000]))
    def waits(self, seconds):
        self.now += seconds

    @invariant()
    def what_was_promised_is_kept(self):
        """Unless a newer token was used, or four newer ones were made."""
        record = self.record
        if record is None or record.revoked or self.kept not in self.promised:
            return
        if self.kept in self.by_shared - self.used:
            kept = not self.used & {*self.promised} and len(self.promised) <= MAX_TOKENS
            assert not kept or self.fleet.bearer(self.kept, self.now) is record
            return
        newer = self.promised[self.promised.index(self.kept) + 1 :]
        if self.used.isdisjoint(newer) and (
            self.kept in self.used or len(newer) < MAX_TOKENS - 1
        ):
            assert self.fleet.bearer(self.kept, self.now) is record

    @invariant()
    def once_a_token_was_used_no_other_comes_of_the_shared_one(self):
        if self.used & {*self.promised}:
            for token in self.by_shared - self.used:
                assert self.fleet.bearer(token, self.now) is None

    @invariant()
    def a_revoked_device_is_never_let_in(self):
        if self.record and self.record.revoked:
            for token in self.promised:
                assert self.fleet.bearer(token, self.now) is None

    @invariant()
    def there_are_few_tokens(self):
        if self.record:
            assert len(self.record.tokens) <= MAX_TOKENS
            assert is_used(self.record) == bool(self.used & set(digests(self.record)))


TestTokens = TokenMachine.TestCase
