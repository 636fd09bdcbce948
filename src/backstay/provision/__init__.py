"""Build a host by the site's own configuration management: Puppet, Ansible, or any command."""
