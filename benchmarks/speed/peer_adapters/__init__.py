"""One program for each framework that `benchmarks/speed/peers.py` compares: the same work by each.

Every one is started as `python -m benchmarks.speed.peer_adapters.NAME CASE.json` in an environment
that has its framework. It uses the framework as its documentation says; what a site does in a
round, `site_work.py`, is the same in all.
"""
