"""One file per service: all that Backstay knows about nova stands in nova.py."""
