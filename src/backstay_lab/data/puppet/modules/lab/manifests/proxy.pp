# The storage proxy: swift-proxy with keystone authentication and a memcached of its own.
#
# @param pipeline  the filters in their order, as swift::proxy takes them
# @param password  of the user swift, by which the proxy asks keystone about tokens
class lab::proxy (
  Array[String[1]] $pipeline,
  String[1]        $password = lookup('lab::secrets::swift_password'),
) {
  include lab
  include lab::swift
  include memcached

  $keystone = "http://${lab::controller_address}:5000"

  class { 'swift::proxy::authtoken':
    auth_url             => $keystone,
    www_authenticate_uri => $keystone,
    password             => $password,
    region_name          => $lab::region,
  }
  # One class for each filter, named as the filter is; authtoken stands above.
  ($pipeline.unique - ['authtoken', 'proxy-server']).each |String $filter| {
    include "swift::proxy::${regsubst($filter, '-', '_', 'G')}"
  }
  class { 'swift::proxy':
    pipeline => $pipeline,
  }
  # Debian's package leaves it readable by everyone; the password stands in it.
  file { '/etc/swift/proxy-server.conf':
    owner   => 'root',
    group   => 'swift',
    mode    => '0640',
    require => Anchor['swift::install::end'],
    before  => Anchor['swift::service::begin'],
  }
}
