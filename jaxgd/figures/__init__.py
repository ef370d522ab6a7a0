"""Histories as pictures, with matplotlib."""
