"""Two runs side by side: how far they stray, and how far they may."""
