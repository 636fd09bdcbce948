# keystone, and what every other service must know to ask it.
class lab::controller::keystone {
  include lab
  include lab::secrets
  include lab::controller::messaging
  include lab::controller_services

  $url = $lab::controller_services::keystone

  # How the other services check tokens. A call that one service makes for a user carries the
  # service's own token as well; cinder takes no detachment without it.
  $authtoken = {
    'auth_url'                     => $url,
    'www_authenticate_uri'         => $url,
    'memcached_servers'            => ["${lab::controller_address}:11211"],
    'region_name'                  => $lab::region,
    'service_token_roles'          => 'admin',
    'service_token_roles_required' => true,
  }

  class { 'keystone::db::mysql':
    password      => $lab::secrets::keystone_db_password,
    allowed_hosts => ['%'],
  }
  class { 'keystone::db':
    database_connection => lab::database_url('keystone', $lab::secrets::keystone_db_password),
  }
  class { 'keystone':
    default_transport_url => $lab::controller_services::transport_url,
    public_endpoint       => $url,
  }
  # Every call of every service asks keystone about a token, a role, a catalogue: without a cache it
  # reads them from the database each time, which made up half the work of a check.
  class { 'keystone::cache':
    enabled          => true,
    backend          => 'oslo_cache.memcache_pool',
    memcache_servers => ["${lab::controller_address}:11211"],
  }
  include keystone::wsgi::uwsgi
  class { 'openstack_extras::auth_file':
    password     => $lab::secrets::admin_password,
    auth_url     => "${url}/v3",
    project_name => 'admin',
    region_name  => $lab::region,
  }
}
