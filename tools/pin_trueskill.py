"""Print TrueSkill updates of two players as the package `trueskill` computes them.

    pip install trueskill==0.4.5
    python3 tools/pin_trueskill.py

The values are the reference of the tests in src/tasks/top_n/rerank/trueskill.rs. Games are won one after the other, every
player starts with the package's default rating, and ratings are carried on.
"""

from trueskill import Rating, rate_1vs1


def play(n, games):
    ratings = [Rating() for _ in range(n)]
    for winner, loser in games:
        ratings[winner], ratings[loser] = rate_1vs1(ratings[winner], ratings[loser])
    return ratings


def show(name, ratings):
    print(name)
    for rating in ratings:
        print(f"    ({rating.mu!r}, {rating.sigma!r}),")


def batch(order):
    """An order of a batch: everybody beats everybody below."""
    return [(a, b) for at, a in enumerate(order) for b in order[at + 1 :]]


show("one game", play(2, [(0, 1)]))
show("a surprise after twenty games", play(2, [(0, 1)] * 20 + [(1, 0)]))
show("a batch of five", play(5, batch([2, 0, 3, 1, 4])))
show("two batches that share two", play(8, batch([2, 0, 3, 1, 4]) + batch([7, 4, 3, 6, 5])))
