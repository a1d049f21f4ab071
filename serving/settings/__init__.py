"""Every setting, and how settings are loaded."""
