"""A host is lost for good: another one takes its place."""
