"""The server learns the sum of those that stay, to the bit, and otherwise nothing."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.secure_sums import CONTEXT, SecureRound, identity, names, vectors

from fl.privacy.secure_aggregation import neighbours
from fl.privacy.secure_aggregation.errors import ProtocolViolationError, TooFewSitesError
from fl.privacy.secure_aggregation.masked_site import (
    announce_keys,
    confirm_survivors,
    mask_vector,
    reveal_shares,
    share_secrets,
)
from fl.privacy.secure_aggregation.neighbours import fewest_survivors, neighbours_of
from fl.privacy.secure_aggregation.round_keys import KeyAnnouncement
from fl.privacy.secure_aggregation.secret_shares import combine, split
from fl.privacy.secure_aggregation.unmasking import SecureSum

BEFORE_THE_VECTOR = 3  # a site that leaves at this step or an earlier one is not in the sum


def plain(given_, leaves):
    kept = [v for site, v in given_.items() if leaves.get(site, 9) > BEFORE_THE_VECTOR]
    return np.sum(kept, axis=0, dtype=np.int64)


@given(st.integers(3, 9), st.data())
@settings(max_examples=40, deadline=None)
def test_any_subset_may_leave_at_any_step_down_to_the_threshold(n, data):
    sites = names(n)
    leaves = data.draw(st.dictionaries(st.sampled_from(sites), st.integers(1, 5), max_size=n))
    given_ = vectors(sites)
    announced = sum(leaves.get(site, 9) > 1 for site in sites)
    stays = sum(leaves.get(site, 9) > 5 for site in sites)
    secure = SecureRound(given_, leaves)
    if announced >= 3 and stays >= fewest_survivors(announced):
        assert np.array_equal(secure.total(), plain(given_, leaves))
        return
    found = None
    with suppress(TooFewSitesError):
        found = secure.total()
    # Below the threshold there is no sum, or enough shares came before the last sites left.
    assert found is None or np.array_equal(found, plain(given_, leaves))


@pytest.mark.parametrize("step", [2, 3, 4])
def test_below_the_threshold_the_server_stops_and_holds_nothing_but_noise(step):
    sites = names(6)
    given_ = {site: np.zeros(1000, dtype=np.int64) for site in sites}
    secure = SecureRound(given_, dict.fromkeys(sites[:2], step))
    with pytest.raises(TooFewSitesError, match=r"4 sites .*, 5 are needed"):
        secure.total()
    if secure.server.total is not None:
        # Zeros under masks: bits are set as often as not.
        ones = np.unpackbits(secure.server.total.view(np.uint8)).mean()
        assert abs(ones - 0.5) < 0.01


def test_one_masked_vector_looks_like_noise_and_so_do_two():
    secure = SecureRound({site: np.zeros(2000, dtype=np.int64) for site in names(4)})
    secure.keys()
    secure.letters()
    masked = [
        mask_vector(secure.secrets[site], secure.server.letters_to(site), secure.given[site])
        for site in names(4)
    ]
    for found in (masked[0], masked[0] + masked[1], sum(masked)):
        assert abs(np.unpackbits(found.view(np.uint8)).mean() - 0.5) < 0.01


def test_with_many_sites_each_has_few_neighbours_and_the_sum_is_the_same(monkeypatch):
    # Of the eight neighbours of any site at most three leave, and five give a secret back.
    monkeypatch.setattr(neighbours, "MOST_NEIGHBOURS", 8)
    given_ = vectors(names(15))
    leaves = {"site-03": 2, "site-07": 3, "site-11": 5}
    secure = SecureRound(given_, leaves)
    assert np.array_equal(secure.total(), plain(given_, leaves))
    for site in given_:
        own = neighbours_of(secure.server.announced, CONTEXT, site)
        assert len(own) == 8
        assert all(site in neighbours_of(secure.server.announced, CONTEXT, o) for o in own)


@given(st.binary(min_size=32, max_size=32), st.integers(1, 12), st.data())
@settings(max_examples=25, deadline=None)
def test_a_secret_comes_back_from_any_of_enough_shares(secret, holders, data):
    who = names(holders)
    threshold = data.draw(st.integers(1, holders))
    shares = split(secret, threshold, who)
    some = data.draw(st.permutations(who))[:threshold]
    assert combine({site: shares[site] for site in some}, threshold, who) == secret


def begun(n=4):
    secure = SecureRound(vectors(names(n)))
    secure.keys()
    return secure


def test_a_server_that_exchanges_a_sites_keys_is_noticed():
    secure = begun()
    _, forged = announce_keys(CONTEXT, "site-02", identity("stranger"))
    with pytest.raises(ProtocolViolationError, match="what site-02 signed is not what was sent"):
        share_secrets(
            secure.secrets["site-01"],
            secure.server.announced | {"site-02": forged},
            secure.public,
        )


def test_keys_of_another_round_are_noticed():
    secure = begun()
    _, old = announce_keys("run-1/fedavg/2", "site-02", identity("site-02"))
    with pytest.raises(ProtocolViolationError, match="site-02 signed"):
        share_secrets(
            secure.secrets["site-01"], secure.server.announced | {"site-02": old}, secure.public
        )


def test_a_site_that_is_given_other_keys_than_its_own_notices():
    secure = begun()
    _, other = announce_keys(CONTEXT, "site-01", identity("site-01"))
    with pytest.raises(ProtocolViolationError, match="keys of site-01 itself"):
        share_secrets(
            secure.secrets["site-01"], secure.server.announced | {"site-01": other}, secure.public
        )


def test_one_site_under_two_names_is_noticed():
    secure = begun()
    announced = secure.server.announced
    with pytest.raises(ProtocolViolationError, match="same key"):
        share_secrets(
            secure.secrets["site-01"],
            announced | {"site-03": announced["site-02"]},
            secure.public,
        )


def test_a_site_whose_key_nobody_registered_is_refused():
    secure = begun()
    known = {k: v for k, v in secure.public.items() if k != "site-04"}
    with pytest.raises(ProtocolViolationError, match="site-04 is no site whose key is known"):
        share_secrets(secure.secrets["site-01"], secure.server.announced, known)


@pytest.mark.parametrize("fewest", [5, 6])
def test_a_hospital_is_not_one_of_fewer_sites_than_it_wants(fewest):
    secure = begun()
    with pytest.raises(ProtocolViolationError, match=f"4 sites take part, fewer than {fewest}"):
        share_secrets(secure.secrets["site-01"], secure.server.announced, secure.public, fewest)


def shared(n=4):
    secure = begun(n)
    secure.letters()
    return secure


def test_letters_that_are_altered_exchanged_or_sent_again_do_not_open():
    secure = shared()
    own = secure.server.letters_to("site-01")
    altered = bytearray(own["site-02"])
    altered[-1] ^= 1
    elsewhere = shared().server.letters_to("site-01")["site-02"]  # of another round
    for wrong in (bytes(altered), own["site-03"], elsewhere, b"", b"short"):
        with pytest.raises(ProtocolViolationError, match="shares that site-02 sent"):
            mask_vector(secure.secrets["site-01"], own | {"site-02": wrong}, vectors(["a"])["a"])


def test_each_step_is_done_once():
    secure = shared()
    letters, secrets = secure.server.letters_to("site-01"), secure.secrets["site-01"]
    with pytest.raises(ProtocolViolationError, match="asked to go on from"):
        share_secrets(secrets, secure.server.announced, secure.public)
    mask_vector(secrets, letters, secure.given["site-01"])
    # Two vectors under the same masks would tell their difference.
    with pytest.raises(ProtocolViolationError, match="asked to go on from"):
        mask_vector(secrets, letters, secure.given["site-02"])


def confirmed(survivors, n=6):
    """A round up to the list of survivors, of which the sites are asked to sign this one."""
    secure = shared(n)
    secure.masked()
    secrets = secure.secrets["site-01"]
    return secure, secrets, confirm_survivors(secrets, survivors, identity("site-01"))


def test_a_site_signs_one_list_of_survivors_alone():
    _, secrets, _ = confirmed(names(6))
    with pytest.raises(ProtocolViolationError, match="asked to go on from"):
        confirm_survivors(secrets, names(5), identity("site-01"))


@pytest.mark.parametrize(
    ("survivors", "reason"),
    [
        (names(4), "4 of 6 sites are left, fewer than 5"),
        (names(6)[1:], "names others"),
        ([*names(6), "site-99"], "names others"),
        ([*names(5), "site-05"], "5|fewer"),
    ],
)
def test_a_list_of_survivors_that_would_single_somebody_out_is_refused(survivors, reason):
    with pytest.raises(ProtocolViolationError, match=reason):
        confirmed(survivors)


def test_a_server_that_shows_two_lists_gets_no_shares():
    """It would learn the key of a site from some and its seed from others, and so its vector."""
    secure, secrets, own = confirmed(names(6))
    others = {
        site: confirm_survivors(secure.secrets[site], names(5), identity(site))
        for site in names(5)[1:]
    }
    with pytest.raises(ProtocolViolationError, match="what site-02 signed"):
        reveal_shares(secrets, {"site-01": own} | others, secure.public)
    with pytest.raises(ProtocolViolationError, match="1 sites confirm"):
        reveal_shares(secrets, {"site-01": own}, secure.public)


def test_never_both_secrets_of_one_site_are_revealed():
    secure = SecureRound(vectors(names(6)), {"site-06": 3})
    secure.keys()
    secure.letters()
    secure.masked()
    secure.confirmed()
    for site in names(5):
        confirmations = secure.server.confirmations
        found = reveal_shares(secure.secrets[site], confirmations, secure.public)
        assert sorted(found) == [other for other in names(6) if other != site]
        with pytest.raises(ProtocolViolationError, match="asked to go on from"):
            reveal_shares(secure.secrets[site], confirmations, secure.public)


def test_a_vector_of_another_length_is_refused():
    server = SecureSum(CONTEXT)
    server.add("site-01", np.zeros(3, dtype=np.int64))
    with pytest.raises(ProtocolViolationError, match="site-02 sent 4 numbers, not 3"):
        server.add("site-02", np.zeros(4, dtype=np.int64))


def test_shares_that_are_not_a_sites_own_key_are_noticed():
    secure = SecureRound(vectors(names(4)), {"site-04": 3})
    secure.keys()
    secure.letters()
    secure.masked()
    secure.confirmed()
    revealed = {
        site: reveal_shares(secure.secrets[site], secure.server.confirmations, secure.public)
        for site in names(3)
    }
    lying = revealed | {"site-01": revealed["site-01"] | {"site-04": bytes(32)}}
    with pytest.raises(ProtocolViolationError, match="key of site-04 do not give it back"):
        secure.server.unmasked(lying)


def test_keys_that_are_no_keys_are_refused():
    secure = begun()
    content = KeyAnnouncement(mask_key=b"\0" * 32, channel_key=b"\0" * 31, signature=b"")
    with pytest.raises(ProtocolViolationError):
        share_secrets(
            secure.secrets["site-01"], secure.server.announced | {"site-02": content}, secure.public
        )
