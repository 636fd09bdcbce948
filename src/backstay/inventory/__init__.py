"""What the cloud consists of: cloud.yaml, openrc and clouds.yaml."""
