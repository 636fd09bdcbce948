"""A dead controller or storage proxy is built anew on a spare."""
