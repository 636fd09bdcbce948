# nova: API, metadata, conductor, scheduler.
class lab::controller::nova {
  include lab
  include lab::secrets
  include lab::controller::messaging
  include lab::controller::keystone
  include lab::controller::glance

  $keystone = "${lab::controller::keystone::url}/v3"

  class { ['nova::db::mysql', 'nova::db::mysql_api']:
    password      => $lab::secrets::nova_db_password,
    allowed_hosts => ['%'],
  }
  class { 'nova::db':
    database_connection     => lab::database_url('nova', $lab::secrets::nova_db_password),
    api_database_connection => lab::database_url('nova_api', $lab::secrets::nova_db_password),
  }
  class { 'nova::keystone::authtoken':
    password => $lab::secrets::nova_password,
    *        => $lab::controller::keystone::authtoken,
  }
  class { 'nova::keystone::service_user':
    password                => $lab::secrets::nova_password,
    auth_url                => $keystone,
    region_name             => $lab::region,
    send_service_user_token => true,
  }
  class { 'nova':
    default_transport_url => $lab::controller::messaging::transport_url,
    my_ip                 => $lab::controller_address,
  }
  nova_config {
    # Any service can be asked over the broker whether it takes work.
    'DEFAULT/rpc_ping_enabled':               value => true;
    # An instance that runs and is not in the records is named, never killed: after a restore the
    # records are older than the instances.
    'DEFAULT/running_deleted_instance_action': value => 'log';
  }

  class { 'nova::glance':
    endpoint_override => $lab::controller::glance::url,
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

  include nova::cell_v2::simple_setup
  include nova::api
  class { 'nova::metadata':
    neutron_metadata_proxy_shared_secret => $lab::secrets::metadata_shared_secret,
  }
  include nova::wsgi::uwsgi_api
  include nova::wsgi::uwsgi_api_metadata
  include nova::conductor
  include nova::scheduler

  # Both tell systemd when they are ready, and are killed if that takes 90 seconds: it can, where
  # every service of every host starts at once on a few cores.
  ['nova-conductor', 'nova-scheduler'].each |String $unit| {
    file {
      "/etc/systemd/system/${unit}.service.d":
        ensure => directory;
      "/etc/systemd/system/${unit}.service.d/slow-start.conf":
        content => "[Service]\nTimeoutStartSec=300\n",
        before  => Anchor['nova::service::begin'];
    }
  }
}
