"""A dead controller or storage proxy is rebuilt on a spare."""
