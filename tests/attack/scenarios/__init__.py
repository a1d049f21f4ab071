"""The attacks. Each module registers its scenarios when it is imported."""
