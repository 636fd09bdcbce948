"""A cloud opened: inventory, hosts over SSH and APIs, and how a function is sent to a host."""
