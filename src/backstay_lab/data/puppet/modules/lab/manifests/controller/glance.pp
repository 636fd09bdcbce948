# glance, with images as files on the controller.
class lab::controller::glance {
  include lab
  include lab::secrets
  include lab::controller::keystone

  class { 'glance::db::mysql':
    password      => $lab::secrets::glance_db_password,
    allowed_hosts => ['%'],
  }
  class { 'glance::api::db':
    database_connection => lab::database_url('glance', $lab::secrets::glance_db_password),
  }
  class { 'glance::api::authtoken':
    password => $lab::secrets::glance_password,
    *        => $lab::controller::keystone::authtoken,
  }
  include glance
  glance::backend::multistore::file { 'images':
    filesystem_store_datadir => '/var/lib/glance/images',
  }
  class { 'glance::api':
    enabled_backends => ['images:file'],
    default_backend  => 'images',
  }
  include glance::wsgi::uwsgi
}
