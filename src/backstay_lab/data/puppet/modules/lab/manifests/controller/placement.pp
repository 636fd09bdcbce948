# placement
class lab::controller::placement {
  include lab
  include lab::secrets
  include lab::controller::keystone

  class { 'placement::db::mysql':
    password      => $lab::secrets::placement_db_password,
    allowed_hosts => ['%'],
  }
  class { 'placement::db':
    database_connection => lab::database_url('placement', $lab::secrets::placement_db_password),
  }
  class { 'placement::keystone::authtoken':
    password => $lab::secrets::placement_password,
    *        => $lab::controller::keystone::authtoken,
  }
  include placement
  include placement::api
  include placement::wsgi::uwsgi
}
