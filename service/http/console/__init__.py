"""The console: its files, and the routes of its pages."""
