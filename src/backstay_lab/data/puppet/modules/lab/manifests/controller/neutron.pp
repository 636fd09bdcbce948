# neutron: API and RPC server. Its agents run on the compute hosts, a DHCP agent on each.
class lab::controller::neutron {
  include lab
  include lab::secrets
  include lab::controller::messaging
  include lab::controller::keystone
  include lab::controller_services

  class { 'neutron::db::mysql':
    password      => $lab::secrets::neutron_db_password,
    allowed_hosts => ['%'],
  }
  class { 'neutron::db':
    database_connection => lab::database_url('neutron', $lab::secrets::neutron_db_password),
  }
  class { 'neutron::keystone::authtoken':
    password => $lab::secrets::neutron_password,
    *        => $lab::controller::keystone::authtoken,
  }
  # Every compute host answers DHCP for every network, so that instances need no other host.
  class { 'neutron':
    default_transport_url   => $lab::controller_services::transport_url,
    dhcp_agents_per_network => max($lab::compute_count, 1),
  }
  neutron_config {
    'DEFAULT/rpc_ping_enabled': value => true;
    # This release wants to be told that the linuxbridge driver is meant.
    'experimental/linuxbridge': value => true;
  }
  class { 'neutron::server':
    sync_db => true,
  }
  include neutron::wsgi::uwsgi
  file { '/etc/neutron/uwsgi':
    ensure  => directory,
    require => Anchor['neutron::config::begin'],
  }
  -> file { '/etc/neutron/uwsgi/neutron_models.py':
    source => 'puppet:///modules/lab/neutron_models',
    before => Anchor['neutron::config::end'],
  }
  neutron_api_uwsgi_config {
    'uwsgi/pythonpath': value => '/etc/neutron/uwsgi';
    'uwsgi/import':     value => 'neutron_models';
  }
  include neutron::server::notifications
  class { 'neutron::server::notifications::nova':
    password    => $lab::secrets::nova_password,
    auth_url    => $lab::controller_services::keystone,
    region_name => $lab::region,
  }
  include neutron::plugins::ml2
}
