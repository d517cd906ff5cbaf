"""Fuzzers: coverage guided search for inputs that break a promise of a parser, a decoder or the engine.

``fuzz/targets/`` has a module for each subject with a plain function ``check(data: bytes) -> None`` that
raises what it finds; ``fuzz/corpus/`` the inputs that reach each of its ways, and those that once broke
something. ``python -m fuzz`` searches on, with atheris; the tests run the corpora without it.
"""
