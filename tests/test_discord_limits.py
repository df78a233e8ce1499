"""Rate limits as Discord's headers tell them, in made-up time."""

from __future__ import annotations

import pytest

from channels.discord.limits import INVALID_MOST, INVALID_SECONDS, Invalid, Limits, route_of

POST = ("POST", "/channels/1200000000000000001/messages")
OTHER = ("POST", "/channels/1200000000000000009/messages")


def headers(remaining: int, after: float, bucket: str = "b") -> dict[str, str]:
    return {
        "X-RateLimit-Bucket": bucket,
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset-After": str(after),
    }


@pytest.mark.parametrize(
    ("method", "path", "route", "major"),
    [
        (*POST, "POST /channels/messages", "/channels/1200000000000000001"),
        (
            "PATCH",
            "/channels/1200000000000000001/messages/1300000000000000001",
            "PATCH /channels/messages/*",
            "/channels/1200000000000000001",
        ),
        ("GET", "/channels/12/messages?after=5&limit=100", "GET /channels/messages", "/channels/12"),
        ("PATCH", "/webhooks/12/tok/messages/@original", "PATCH /webhooks/messages/@original", "/webhooks/12/tok"),
        ("GET", "/users/@me", "GET /users/@me", ""),
    ],
)
def test_calls_are_counted_by_kind_and_resource(method: str, path: str, route: str, major: str) -> None:
    assert route_of(method, path) == (route, major)


def test_a_spent_bucket_is_waited_for_in_its_channel_only() -> None:
    limits = Limits()
    assert limits.wait(*POST, 100.0) == (0.0, False)
    limits.learn(*POST, headers(0, 4.0), 100.0)
    assert limits.wait(*POST, 101.0) == (3.0, False)
    assert limits.wait(*OTHER, 101.0) == (0.0, False)
    assert limits.wait("PATCH", POST[1], 101.0) == (0.0, False)
    assert limits.wait(*POST, 104.5) == (0.0, False)


def test_calls_side_by_side_share_what_is_left() -> None:
    limits = Limits()
    limits.learn(*POST, headers(2, 5.0), 100.0)
    for _ in range(2):
        assert limits.wait(*POST, 100.0) == (0.0, False)
        limits.leaves(*POST, 100.0)
    assert limits.wait(*POST, 100.0) == (5.0, False)
    limits.learn(*POST, headers(1, 4.9), 100.1)  # the first answer, overtaken by the second request
    assert limits.wait(*POST, 100.1)[0] > 4.8
    limits.learn(*POST, headers(4, 5.0), 106.0)
    assert limits.wait(*POST, 106.0) == (0.0, False)


def test_a_global_limit_stops_the_bot() -> None:
    limits = Limits()
    limits.refused(*POST, 2.0, 100.0, whole=True)
    assert limits.wait("GET", "/users/@me", 101.0) == (1.0, True)
    limits.refused(*POST, 3.0, 103.0, whole=False)
    assert limits.wait(*POST, 103.0) == (3.0, False)
    assert limits.wait(*OTHER, 103.0) == (0.0, False)


def test_odd_headers_teach_nothing() -> None:
    limits = Limits()
    limits.learn(*POST, {"X-RateLimit-Bucket": "b", "X-RateLimit-Remaining": "x", "X-RateLimit-Reset-After": "1"}, 0.0)
    limits.learn(*POST, {}, 0.0)
    assert limits.wait(*POST, 0.0) == (0.0, False)


def test_long_lists_of_buckets_are_cleared() -> None:
    limits = Limits()
    for number in range(5000):
        limits.learn("POST", f"/channels/{number}/messages", headers(1, 1.0), float(number))
    assert len(limits._left) <= 2001


def test_invalid_requests_stop_everything_before_discord_does() -> None:
    invalid = Invalid()
    for _ in range(INVALID_MOST - 1):
        invalid.note(403, "", 50.0)
    invalid.note(429, "shared", 50.0)
    invalid.note(404, "", 50.0)
    assert invalid.wait(60.0) == 0.0
    invalid.note(401, "", 60.0)
    assert invalid.wait(60.0) == INVALID_SECONDS - 10.0
    assert invalid.wait(50.0 + INVALID_SECONDS + 1.0) == 0.0
