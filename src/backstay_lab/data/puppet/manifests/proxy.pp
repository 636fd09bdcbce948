# The storage proxy.
include lab::proxy
