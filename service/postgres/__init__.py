"""Tables: each statement beside its one function."""
