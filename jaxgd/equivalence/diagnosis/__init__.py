"""Where two trainings part, and which known difference explains it."""
