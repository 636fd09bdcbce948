# Keystone's own records: the first administrator, and each service's user and endpoint.
class lab::controller::identity {
  include lab
  include lab::secrets
  include lab::controller::keystone

  $keystone = $lab::controller_services::keystone
  $host     = "http://${lab::controller_address}"
  $wanted   = '/etc/keystone/identity.json'

  # Idempotent, as keystone-manage(1) says; here after each change of the schema, so on a new one.
  exec { 'keystone-manage bootstrap':
    command     => 'keystone-manage bootstrap',
    path        => ['/usr/bin', '/bin'],
    user        => 'keystone',
    environment => [
      "OS_BOOTSTRAP_PASSWORD=${lab::secrets::admin_password}",
      "OS_BOOTSTRAP_ADMIN_URL=${keystone}",
      "OS_BOOTSTRAP_PUBLIC_URL=${keystone}",
      "OS_BOOTSTRAP_INTERNAL_URL=${keystone}",
      "OS_BOOTSTRAP_REGION_ID=${lab::region}",
    ],
    refreshonly => true,
    subscribe   => Anchor['keystone::dbsync::end'],
    before      => Anchor['keystone::service::begin'],
  }

  file { $wanted:
    owner     => 'root',
    group     => 'root',
    mode      => '0600',
    show_diff => false,
    content   => to_json_pretty({
      'auth_url'       => "${keystone}/v3",
      'region'         => $lab::region,
      'project'        => 'services',
      'admin_password' => $lab::secrets::admin_password,
      'services'       => [
        { 'user' => 'glance',    'password' => $lab::secrets::glance_password,    'name' => 'glance',    'type' => 'image',
          'description' => 'Images',           'url' => "${host}:9292" },
        { 'user' => 'placement', 'password' => $lab::secrets::placement_password, 'name' => 'placement', 'type' => 'placement',
          'description' => 'Placement',        'url' => "${host}:8778" },
        { 'user' => 'nova',      'password' => $lab::secrets::nova_password,      'name' => 'nova',      'type' => 'compute',
          'description' => 'Compute',          'url' => "${host}:8774/v2.1" },
        { 'user' => 'neutron',   'password' => $lab::secrets::neutron_password,   'name' => 'neutron',   'type' => 'network',
          'description' => 'Network',          'url' => "${host}:9696" },
        { 'user' => 'cinder',    'password' => $lab::secrets::cinder_password,    'name' => 'cinderv3',  'type' => 'volumev3',
          'description' => 'Volumes',          'url' => "${host}:8776/v3" },
        { 'user' => 'swift',     'password' => $lab::secrets::swift_password,     'name' => 'swift',     'type' => 'object-store',
          'description' => 'Objects',          'url' => "http://${lab::proxy_address}:8080/v1/AUTH_%(project_id)s" },
      ],
    }),
    require   => Anchor['keystone::install::end'],
  }
  file { '/usr/local/sbin/backstay-identity':
    source => 'puppet:///modules/lab/identity',
    mode   => '0755',
  }
  exec { 'users and endpoints':
    command   => "/usr/local/sbin/backstay-identity ${wanted}",
    unless    => "/usr/local/sbin/backstay-identity --check ${wanted}",
    logoutput => on_failure,
    require   => [
      File[$wanted, '/usr/local/sbin/backstay-identity'],
      Exec['keystone-manage bootstrap'],
      Anchor['keystone::service::end'],
    ],
  }
}
