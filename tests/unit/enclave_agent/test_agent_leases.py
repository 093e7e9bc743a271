"""The lease book: rules 1 to 6 of docs/specs/signed-terms.md, one by one and in any order."""

from __future__ import annotations

import pytest
from fakes.agent_terms import NONCE, grant, lease, model, revocation
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sealward.enclave_agent.leases import LeaseBook, LeaseCode, Outcome, TermsCode, TermsRefused
from sealward.protos.terms import LeaseTermsState, VerifiedTerms

RENEWED, ENDED = LeaseTermsState.RENEWED, LeaseTermsState.ENDED
MS = 1_000_000


def take(book: LeaseBook, verified: VerifiedTerms, *, sent_ms: int = 0, now_ms: int = 0) -> Outcome:
    return book.accept_grant(verified, nonce=NONCE, sent_ns=sent_ms * MS, now_ns=now_ms * MS)


def live(book: LeaseBook, at_ms: int) -> list[int]:
    return [int.from_bytes(held.lease_id, "big") for held in book.live(at_ms * MS)]


def test_the_horizon_counts_from_before_the_request_was_sent() -> None:
    """Not from when the answer came: a slow answer gains nothing."""
    book = LeaseBook()
    take(book, grant(1, lease(ttl_ms=1_000)), sent_ms=100, now_ms=900)
    assert live(book, 1_099) == [1]
    assert live(book, 1_100) == []


def test_a_renewal_replaces_the_horizon_even_with_an_earlier_one() -> None:
    book = LeaseBook()
    take(book, grant(1, lease(ttl_ms=10_000)))
    take(book, grant(2, lease(state=RENEWED, ttl_ms=1_000)), sent_ms=500, now_ms=500)
    assert live(book, 1_499) == [1]
    assert live(book, 1_500) == []


@pytest.mark.parametrize("sequence", [0, 4, 5])
def test_a_sequence_not_above_the_highest_is_stale(sequence: int) -> None:
    book = LeaseBook()
    take(book, grant(5, lease()))
    for verified, accept in (
        (grant(sequence, lease(2)), lambda v: take(book, v)),
        (revocation(sequence, lease(1, ENDED)), lambda v: book.accept_revocation(v, now_ns=0)),
    ):
        with pytest.raises(TermsRefused) as raised:
            accept(verified)
        assert raised.value.code is TermsCode.STALE
    assert live(book, 0) == [1]


def test_a_grant_that_answers_another_nonce_is_foreign_and_changes_nothing() -> None:
    book = LeaseBook()
    with pytest.raises(TermsRefused) as raised:
        take(book, grant(1, lease(), nonce=bytes(32)))
    assert raised.value.code is TermsCode.FOREIGN_CHALLENGE
    assert book.highest_sequence == 0
    assert live(book, 0) == []


def test_a_grant_is_not_taken_as_a_push_nor_a_revocation_as_an_answer() -> None:
    book = LeaseBook()
    with pytest.raises(TermsRefused):
        book.accept_revocation(grant(1, lease()), now_ns=0)
    with pytest.raises(TermsRefused):
        take(book, revocation(1, lease(1, ENDED)))
    assert book.highest_sequence == 0


def test_a_grant_overtaken_by_a_revocation_is_dropped() -> None:
    """F16: revoke L7, then grant L7."""
    book = LeaseBook()
    book.accept_revocation(revocation(2, lease(7, ENDED)), now_ns=0)
    with pytest.raises(TermsRefused):
        take(book, grant(1, lease(7)))
    assert take(book, grant(3, lease(7))).refused[0].code is LeaseCode.LEASE_ENDED
    assert live(book, 0) == []


def test_a_grant_ends_every_lease_that_it_does_not_name() -> None:
    book = LeaseBook()
    take(book, grant(1, lease(1), lease(2), lease(3)))
    outcome = take(book, grant(2, lease(2, RENEWED), lease(4)))
    assert sorted(held.lease_id[-1] for held in outcome.ended) == [1, 3]
    assert live(book, 0) == [2, 4]
    assert len(take(book, grant(3)).ended) == 2
    assert live(book, 0) == []


def test_an_end_that_a_grant_overtook_is_not_lost() -> None:
    """The sweep ends lease 1 in terms 2; an answer with terms 3 arrives first."""
    book = LeaseBook()
    take(book, grant(1, lease(1), lease(2)))
    take(book, grant(3, lease(2, RENEWED)))
    with pytest.raises(TermsRefused) as raised:
        book.accept_revocation(revocation(2, lease(1, ENDED)), now_ns=0)
    assert raised.value.code is TermsCode.STALE
    assert live(book, 0) == [2]
    assert take(book, grant(4, lease(1), lease(2, RENEWED))).refused[0].code is (
        LeaseCode.LEASE_ENDED
    )


def test_an_overtaken_grant_does_not_end_what_a_later_one_granted() -> None:
    book = LeaseBook()
    take(book, grant(3, lease(9)))
    with pytest.raises(TermsRefused):
        take(book, grant(2))
    assert live(book, 0) == [9]


def test_a_revocation_ends_only_what_it_names() -> None:
    book = LeaseBook()
    take(book, grant(1, lease(1), lease(2)))
    book.accept_revocation(revocation(2, lease(1, ENDED)), now_ns=0)
    assert live(book, 0) == [2]


def test_a_renewal_that_cannot_be_obeyed_ends_its_lease_alone() -> None:
    """It must not go on without the obligation that it is now leased under."""
    book = LeaseBook()
    take(book, grant(1, lease(1), lease(2)))
    changed = lease(1, RENEWED, obligations={"colour": 1})
    outcome = take(book, grant(2, changed, lease(2, RENEWED)))
    assert [refusal.code for refusal in outcome.refused] == [LeaseCode.UNKNOWN_OBLIGATION]
    assert [held.lease_id[-1] for held in outcome.ended] == [1]
    assert live(book, 0) == [2]


def test_what_is_past_its_horizon_is_left_to_expire() -> None:
    """Its statement says that the horizon ended it, not the grant that came a moment later."""
    book = LeaseBook()
    take(book, grant(1, lease(1, ttl_ms=100)))
    assert take(book, grant(2), now_ms=100).ended == ()
    assert [held.lease_id[-1] for held in book.expire(100 * MS)] == [1]


@pytest.mark.parametrize(
    "obligations",
    [
        {"colour": 1},
        {"ttl_seconds": 0},
        {"ttl_seconds": ("60",)},
        {"max_instances": ("1",)},
        {"regions": 3},
        {"regions": ()},
    ],
)
def test_an_obligation_it_cannot_keep_refuses_the_lease_alone(obligations: dict[str, int]) -> None:
    book = LeaseBook()
    outcome = take(book, grant(1, lease(1), lease(2, obligations=obligations)))
    assert [refusal.code for refusal in outcome.refused] == [LeaseCode.UNKNOWN_OBLIGATION]
    assert live(book, 0) == [1]


def test_an_end_is_obeyed_whatever_obligations_come_with_it() -> None:
    """Refusing what one does not know must never keep a lease alive."""
    book = LeaseBook()
    take(book, grant(1, lease(1)))
    outcome = book.accept_revocation(
        revocation(2, lease(1, ENDED, obligations={"colour": 1})), now_ns=0
    )
    assert len(outcome.ended) == 1
    assert live(book, 0) == []


def test_a_ttl_obligation_shortens_the_horizon() -> None:
    book = LeaseBook()
    obligations = {"ttl_seconds": 2, "max_instances": 3, "regions": ("eu",)}
    take(book, grant(1, lease(ttl_ms=10_000, obligations=obligations)))
    assert live(book, 1_999) == [1]
    assert live(book, 2_000) == []


def test_a_revocation_grants_nothing() -> None:
    book = LeaseBook()
    outcome = book.accept_revocation(revocation(1, lease(1)), now_ns=0)
    assert outcome.refused[0].code is LeaseCode.NOT_A_GRANT
    assert live(book, 0) == []


def test_a_renewal_of_a_lease_that_is_not_held_is_refused() -> None:
    """Its keys never reached this process."""
    outcome = take(LeaseBook(), grant(1, lease(state=RENEWED)))
    assert outcome.refused[0].code is LeaseCode.LEASE_NOT_HELD


def test_an_answer_slower_than_its_lease_holds_nothing() -> None:
    book = LeaseBook()
    outcome = take(book, grant(1, lease(ttl_ms=100)), sent_ms=0, now_ms=100)
    assert outcome.refused[0].code is LeaseCode.HORIZON_PASSED
    assert outcome.held == ()


def test_a_signed_time_past_the_horizon_ends_a_lease_whose_clock_stands_still() -> None:
    """F4: a host that stops the guest's clock is found out by any later signed time."""
    book = LeaseBook()
    take(book, grant(1, lease(not_after_ms=5_000), issued_ms=4_000))
    book.observe_signed_time(4_999)
    assert live(book, 0) == [1]
    book.observe_signed_time(5_000)
    book.observe_signed_time(1)  # never goes back
    assert live(book, 0) == []


def test_a_clock_that_goes_back_revives_nothing() -> None:
    book = LeaseBook()
    take(book, grant(1, lease(ttl_ms=1_000)))
    assert live(book, 1_000) == []
    assert live(book, 0) == []
    refused = take(book, grant(2, lease(state=RENEWED, ttl_ms=9_000))).refused
    assert refused[0].code is LeaseCode.LEASE_ENDED


def test_expire_ends_what_is_over_and_only_that() -> None:
    book = LeaseBook()
    take(book, grant(1, lease(1, ttl_ms=1_000), lease(2, ttl_ms=2_000)))
    assert [held.lease_id[-1] for held in book.expire(1_500 * MS)] == [1]
    assert book.expire(1_500 * MS) == ()
    assert live(book, 1_500) == [2]
    assert book.next_horizon_ns() == 2_000 * MS


def test_later_terms_forbid_lower_versions_of_a_model() -> None:
    """Never a lower version than granted, in any lease that is held."""
    book = LeaseBook()
    old = model("m", version=1)
    take(book, grant(1, lease(1, models=(old,))))
    assert book.may_run("w", old)
    take(book, grant(2, lease(2, models=(model("m", version=3, min_version=2),))))
    assert not book.may_run("w", old)


def test_the_lowest_version_of_a_name_is_each_workloads_own() -> None:
    """Names of models belong to workloads: one workload's floor is not another's."""
    book = LeaseBook()
    other = lease(2, workload="v", models=(model("m", version=5, min_version=5),))
    take(book, grant(1, lease(1, models=(model("m"),)), other))
    assert book.may_run("w", model("m"))
    assert not book.may_run("v", model("m"))


def test_renewal_is_due_at_a_share_of_the_earliest_lease() -> None:
    book = LeaseBook()
    assert book.renewal_due_ns(0.9) is None
    take(book, grant(1, lease(1, ttl_ms=1_000), lease(2, ttl_ms=5_000)), sent_ms=100)
    assert book.renewal_due_ns(0.9) == 1_000 * MS


class LeaseBookMachine(RuleBasedStateMachine):
    """Grants, renewals and ends, in any order, delayed and replayed, against a clock that may lie.

    The model is written from the specification: what may be used is what the latest accepted terms
    of a lease allow, until its horizon by either clock, and never again after it has ended.
    """

    @initialize()
    def begin(self) -> None:
        self.book = LeaseBook()
        self.now_ms = 0
        self.latest_ms = 0
        self.signed_ms = 0
        self.highest = 0
        self.signed: list[tuple[VerifiedTerms, int]] = []
        self.next_sequence = 1
        self.horizons: dict[int, tuple[int, int]] = {}
        self.dead: set[int] = set()

    @rule(
        said=st.dictionaries(st.integers(1, 8), st.sampled_from(LeaseTermsState), max_size=4),
        ttl_ms=st.integers(0, 3_000),
        after_ms=st.integers(0, 3_000),
        push=st.booleans(),
    )
    def sign(
        self, said: dict[int, LeaseTermsState], ttl_ms: int, after_ms: int, *, push: bool
    ) -> None:
        """The control plane signs terms; they may arrive at any time, in any order, repeatedly."""
        leases = tuple(
            lease(number, state, ttl_ms=ttl_ms, not_after_ms=self.now_ms + after_ms)
            for number, state in said.items()
        )
        make = revocation if push else grant
        terms = make(self.next_sequence, *leases, issued_ms=self.now_ms)
        self.signed.append((terms, self.now_ms))
        self.next_sequence += 1

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Any terms ever signed arrive: most often one of the last, or old ones again."""
        if not self.signed:
            return
        latest = st.sampled_from(self.signed[-3:])
        terms, sent_ms = data.draw(latest | latest | st.sampled_from(self.signed))
        said = terms.terms
        self.latest_ms = max(self.latest_ms, self.now_ms)
        if said.sequence <= self.highest:
            with pytest.raises(TermsRefused) as raised:
                self._hand_over(terms, sent_ms)
            assert raised.value.code is TermsCode.STALE
            return
        self._hand_over(terms, sent_ms)
        self.highest = said.sequence
        self.signed_ms = max(self.signed_ms, said.issued_ms)
        self._forget_the_dead()
        before = set(self.horizons)
        for one in said.leases:
            number = int.from_bytes(one.lease_id, "big")
            if one.state is ENDED:
                self._end(number)
            elif said.challenge is not None and number not in self.dead:
                before.discard(number)
                if one.state is RENEWED and number not in self.horizons:
                    continue
                self.horizons[number] = (sent_ms + one.ttl_ms, one.not_after_ms)
        if said.challenge is not None:  # a grant names every lease that is active
            for number in before:
                self._end(number)
        self._forget_the_dead()

    @rule(step_ms=st.integers(0, 200))
    def time_passes(self, step_ms: int) -> None:
        self.now_ms += step_ms

    @rule(step_ms=st.integers(1, 200))
    def the_clock_is_set_back(self, step_ms: int) -> None:
        self.now_ms = max(0, self.now_ms - step_ms)

    @rule()
    def the_watchdog_runs(self) -> None:
        self.latest_ms = max(self.latest_ms, self.now_ms)
        self._forget_the_dead()
        self.book.expire(self.now_ms * MS)

    @rule(ahead_ms=st.integers(-200, 200))
    def a_signed_time_is_seen(self, ahead_ms: int) -> None:
        unix_ms = max(0, self.now_ms + ahead_ms)
        self.signed_ms = max(self.signed_ms, unix_ms)
        self.book.observe_signed_time(unix_ms)

    @invariant()
    def exactly_what_the_specification_allows_is_live(self) -> None:
        self.latest_ms = max(self.latest_ms, self.now_ms)
        self._forget_the_dead()
        assert set(live(self.book, self.now_ms)) == set(self.horizons)
        assert self.book.highest_sequence == self.highest

    def _hand_over(self, terms: VerifiedTerms, sent_ms: int) -> None:
        if terms.terms.challenge is None:
            self.book.accept_revocation(terms, now_ns=self.now_ms * MS)
        else:
            take(self.book, terms, sent_ms=sent_ms, now_ms=self.now_ms)

    def _forget_the_dead(self) -> None:
        for number, (horizon_ms, not_after_ms) in tuple(self.horizons.items()):
            if self.latest_ms >= horizon_ms or self.signed_ms >= not_after_ms:
                self._end(number)

    def _end(self, number: int) -> None:
        self.horizons.pop(number, None)
        self.dead.add(number)


TestLeaseBook = LeaseBookMachine.TestCase
TestLeaseBook.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
