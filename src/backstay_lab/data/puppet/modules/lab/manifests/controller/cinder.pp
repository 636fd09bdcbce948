# cinder: API, scheduler, volume service. Where volumes are kept stands in lab::controller::volumes.
class lab::controller::cinder {
  include lab
  include lab::secrets
  include lab::controller::messaging
  include lab::controller::keystone
  include lab::controller_services

  # Declared before the classes that would include it without a value.
  class { 'cinder::db':
    database_connection => lab::database_url('cinder', $lab::secrets::cinder_db_password),
  }
  class { 'cinder::db::mysql':
    password      => $lab::secrets::cinder_db_password,
    allowed_hosts => ['%'],
  }
  class { 'cinder::keystone::authtoken':
    password => $lab::secrets::cinder_password,
    *        => $lab::controller::keystone::authtoken,
  }
  class { 'cinder::keystone::service_user':
    password                => $lab::secrets::cinder_password,
    auth_url                => $lab::controller_services::keystone,
    region_name             => $lab::region,
    send_service_user_token => true,
  }
  class { 'cinder':
    default_transport_url => $lab::controller_services::transport_url,
  }
  cinder_config {
    'DEFAULT/rpc_ping_enabled': value => true;
    'DEFAULT/my_ip':            value => $lab::controller_address;
  }
  class { 'cinder::nova':
    password    => $lab::secrets::nova_password,
    auth_url    => $lab::controller_services::keystone,
    auth_type   => 'password',
    region_name => $lab::region,
  }
  class { 'cinder::glance':
    glance_api_servers => $lab::controller_services::glance,
  }
  include cinder::api
  include cinder::wsgi::uwsgi
  include cinder::scheduler
  include cinder::volume
  include lab::controller::volumes

  # Comes with cinder-volume for iSCSI targets, which nothing here uses; it fails where the kernel
  # has none.
  service { 'rtslib-fb-targetctl':
    enable => mask,
  }
}
