"""The watch: detection, incidents, notifications, actions by policy, and the web page."""
