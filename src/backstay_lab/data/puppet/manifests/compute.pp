# A compute host.
include lab::compute
