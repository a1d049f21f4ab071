"""What every peer computes, on the artifacts' files: the same arithmetic behind different servers.

A workload turns one request into one item (`item`), and a batch of items into one JSON object each (`answers`).
"""
