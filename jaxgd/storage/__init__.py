"""Trees of arrays on disk; nothing here knows of descents."""
