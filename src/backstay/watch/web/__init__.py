"""The status page and the API of the watch: they show the board and the journal, never the cloud.

Nothing that a request does asks a host or an API: it is as quick when all of the cloud is down.
"""
