"""Runs on the controller: how likely chance alone makes two releases differ as much as they do.

A load balancer gives each request to one of two releases at random. If both answer alike, the requests that one of
them got are a random sample of all requests, whatever the requests are and however they depend on each other. So how
many of them got a certain answer follows the hypergeometric distribution, exactly and for any number of requests: this
is Fisher's exact test (https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.fisher_exact.html). Each part
of the answers is tested at each reading, with an equal share of the chance of a false alarm: by Bonferroni's inequality
all of them together have no more, however they depend on each other.
"""

from __future__ import annotations

from math import exp, inf, lgamma

CHANCE = 1e-4
"""How often chance may return a release that answers as the live one does: once in 10,000 watched releases."""
_NEGLIGIBLE = 1e-17


def level(tests: int) -> float:
    """Return the probability that each of so many tests may have of a false alarm."""
    return CHANCE / max(1, tests)


def probability(one: int, of_one: int, other: int, of_other: int) -> float:
    """Return how likely chance takes `one` of `of_one` and `other` of `of_other` so far apart, in either direction.

    Twice the probability of the tail on the side of the difference, at most 1.
    """
    if one * of_other < other * of_one:
        one, of_one, other, of_other = other, of_other, one, of_one
    return min(1.0, 2 * _upper_tail(one, of_one, one + other, of_one + of_other))


def _upper_tail(least: int, drawn: int, marked: int, every: int) -> float:
    """Return the probability of `least` or more marked ones among `drawn` of `every`, of which `marked` are marked.

    `least` is not below the expected number, so each term is smaller than the one before.
    """
    term = _probability_of(least, drawn, marked, every)
    total = 0.0
    while term > _NEGLIGIBLE * total:
        total += term
        term *= (marked - least) * (drawn - least)
        least += 1
        term /= least * (every - marked - drawn + least)
    return total


def _probability_of(number: int, drawn: int, marked: int, every: int) -> float:
    logarithm = _ways(marked, number) + _ways(every - marked, drawn - number) - _ways(every, drawn)
    return exp(logarithm)


def _ways(every: int, chosen: int) -> float:
    """Return the logarithm of the number of ways to choose so many of `every`."""
    if not 0 <= chosen <= every:
        return -inf
    return lgamma(every + 1) - lgamma(chosen + 1) - lgamma(every - chosen + 1)
