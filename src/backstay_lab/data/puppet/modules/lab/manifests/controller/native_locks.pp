# For the APIs that uwsgi runs in several threads of the system: see files/native_locks.
class lab::controller::native_locks {
  $folder = '/usr/local/lib/lab-uwsgi'

  file { $folder:
    ensure => directory,
  }
  -> file { "${folder}/native_locks.py":
    source => 'puppet:///modules/lab/native_locks',
    before => Anchor['keystone::service::begin', 'glance::service::begin', 'placement::service::begin',
      'cinder::service::begin'],
  }
  ['keystone_uwsgi_config', 'glance_api_uwsgi_config', 'placement_api_uwsgi_config',
    'cinder_api_uwsgi_config'].each |$config| {
    create_resources($config, {
      'uwsgi/pythonpath' => { value => $folder },
      'uwsgi/import'     => { value => 'native_locks' },
    })
  }
}
