"""The status page and the API of the watch: they show the snapshot and the journal.

No page leads to a request to a host or an API: pages are as fast when the whole cloud is down.
"""
