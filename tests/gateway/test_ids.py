"""Ids are given out once, whoever asks, also around a visit to the system for more of them."""

from concurrent.futures import ThreadPoolExecutor

from gateway.ids import AT_ONCE, random_bytes, random_hex


def test_no_id_is_given_out_twice_to_any_thread() -> None:
    count = 3 * AT_ONCE + 1
    with ThreadPoolExecutor(4) as threads:
        ids = list(threads.map(lambda _: random_bytes(), range(count)))
    assert len(set(ids)) == count
    assert {len(one) for one in ids} == {16}


def test_a_hexadecimal_id_has_32_digits() -> None:
    assert len(random_hex()) == 32
    assert int(random_hex(), 16) != int(random_hex(), 16)
