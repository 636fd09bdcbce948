"""Whether agents process RPC messages: the evidence about each, and its diagnosis."""
