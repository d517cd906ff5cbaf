"""The page of results: ``python -m bench.report build/bench/results.json`` writes it and its plots."""
