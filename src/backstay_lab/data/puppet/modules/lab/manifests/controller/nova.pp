# nova: API, metadata, conductor, scheduler.
class lab::controller::nova {
  include lab
  include lab::secrets
  include lab::controller::messaging
  include lab::controller::keystone

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
  # After the classes above, which it would include without values.
  include lab::nova

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
