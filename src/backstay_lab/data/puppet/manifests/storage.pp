# A storage host.
include lab::storage
