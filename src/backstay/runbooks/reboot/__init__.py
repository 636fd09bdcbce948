"""Reboot a host of the cloud, and see that everything is back."""
