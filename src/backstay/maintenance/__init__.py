"""When maintenance may be done, and whether: windows, gates, what users lose."""
