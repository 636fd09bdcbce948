# What every nova service is told, on the controller and on compute hosts: the broker, and how to
# ask the other services.
class lab::nova {
  include lab
  include lab::secrets
  include lab::controller_services

  $keystone = "${lab::controller_services::keystone}/v3"

  class { 'nova':
    default_transport_url => $lab::controller_services::transport_url,
    my_ip                 => $lab::address,
  }
  # Any service can be asked over the broker whether it takes work.
  nova_config { 'DEFAULT/rpc_ping_enabled': value => true }
  class { 'nova::keystone::service_user':
    password                => $lab::secrets::nova_password,
    auth_url                => $keystone,
    region_name             => $lab::region,
    send_service_user_token => true,
  }
  class { 'nova::glance':
    endpoint_override => $lab::controller_services::glance,
  }
  class { 'nova::placement':
    password    => $lab::secrets::placement_password,
    auth_url    => $keystone,
    region_name => $lab::region,
  }
  class { 'nova::network::neutron':
    password    => $lab::secrets::neutron_password,
    auth_url    => $keystone,
    region_name => $lab::region,
  }
  class { 'nova::cinder':
    password            => $lab::secrets::cinder_password,
    auth_url            => $keystone,
    auth_type           => 'password',
    project_name        => 'services',
    project_domain_name => 'Default',
    username            => 'cinder',
    user_domain_name    => 'Default',
    os_region_name      => $lab::region,
  }
}
