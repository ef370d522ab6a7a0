"""What one side did, update by update: in memory and on disk."""
