"""Interleaved rounds and what is made of them.

A noisy machine is noisy for a while: so the peers take turns, and who begins changes with every
round. Figures are medians over the rounds; a ratio is the ratio of medians.
"""

import statistics


def interleave(peers, rounds, measure):
    """`measure(peer)` gives a dict of figures; medians of each by peer's name, with the spread of
    the rounds as `<figure>_low` and `<figure>_high`."""
    by_name = {peer.name: peer for peer in peers}
    return turns(list(by_name), rounds, lambda name: measure(by_name[name]))


def turns(those, rounds, measure):
    """The same for whatever is measured by turns: `measure(one)` for each of `those`."""
    samples = {one: [] for one in those}
    for turn in range(rounds):
        first = turn % len(those)
        for one in those[first:] + those[:first]:
            samples[one].append(measure(one))
    return {one: medians(found) for one, found in samples.items()}


def medians(samples):
    merged = {}
    for key in samples[0]:
        values = [sample[key] for sample in samples if sample.get(key) is not None]
        if values:
            merged[key] = statistics.median(values)
            merged[f"{key}_low"], merged[f"{key}_high"] = min(values), max(values)
    return merged


def with_cpu(peer, run, count="transactions"):
    """Runs and adds the peer's CPU per transaction in µs: in all, and the user's share."""
    if peer.process is None:
        return run()
    user, system = peer.process.cpu()
    figures = run()
    user_after, system_after = peer.process.cpu()
    user, system = user_after - user, system_after - system
    number = max(figures[count], 1)
    figures["cpu"] = (user + system) / number * 1e6
    figures["user"] = user / number * 1e6
    return figures


def ratio(figures, key, of="pgusher", over="pgbouncer"):
    """`of`'s figure over `over`'s; None when either is missing or nothing."""
    try:
        return figures[of][key] / figures[over][key]
    except (KeyError, ZeroDivisionError):
        return None
