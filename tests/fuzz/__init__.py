"""Whatever is sent, each decoder reads it or refuses it with the error it names, and nothing else happens.

corpus     seeds that are kept in tests/corpora, and mutations of them
seeds      writes them: python -m tests.fuzz.seeds
test_...   one decoder each: every seed is replayed, then mutations, then what hypothesis makes up
"""
