# neutron's agents: the bridge that instances hang on, and a DHCP server of this host's own.
class lab::compute::neutron {
  include lab
  include lab::secrets
  include lab::controller_services

  class { 'neutron':
    default_transport_url => $lab::controller_services::transport_url,
  }
  neutron_config {
    'DEFAULT/rpc_ping_enabled': value => true;
    # This release wants to be told that the linuxbridge agent is meant.
    'experimental/linuxbridge': value => true;
  }
  include neutron::agents::ml2::linuxbridge
  include neutron::agents::dhcp
}
