"""Modules that several stages share: one noun each."""
