"""The only code that touches the outside: SSH, the OpenStack APIs, power."""
