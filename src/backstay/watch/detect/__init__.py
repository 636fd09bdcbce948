"""The quick questions: what is asked every second, and the signs that come of it."""
