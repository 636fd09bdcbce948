# The storage proxy: swift-proxy with keystone authentication and a memcached of its own.
$keystone = "http://${lookup('lab::controller_address')}:5000"
$pipeline = lookup('lab::proxy::pipeline', Array[String])

Exec { path => ['/usr/bin', '/bin'], logoutput => on_failure }

class { 'swift':
  swift_hash_path_suffix => lookup('lab::secrets::swift_hash_suffix'),
  swift_hash_path_prefix => lookup('lab::secrets::swift_hash_prefix'),
}
include memcached
class { 'swift::proxy::authtoken':
  auth_url             => $keystone,
  www_authenticate_uri => $keystone,
  password             => lookup('lab::secrets::swift_password'),
}
# one class for each filter, named as the Puppet module names it; authtoken stands above
($pipeline.unique - ['authtoken', 'proxy-server']).each |String $filter| {
  include "swift::proxy::${regsubst($filter, '-', '_', 'G')}"
}
class { 'swift::proxy': pipeline => $pipeline }

# The unit is passed over without a word while there are no rings, so they come before it starts.
exec { 'swift rings':
  command => "/etc/backstay/puppet/files/swift-rings ${lookup('lab::storage_addresses')[0]} /etc/swift",
  unless  => 'test -s /etc/swift/account.ring.gz -a -s /etc/swift/container.ring.gz -a -s /etc/swift/object.ring.gz',
  require => Anchor['swift::config::end'],
  before  => Anchor['swift::service::begin'],
}
# Debian's package leaves both readable by everyone; they hold the password and the hash suffix.
file { ['/etc/swift/proxy-server.conf', '/etc/swift/swift.conf']:
  owner   => 'root',
  group   => 'swift',
  mode    => '0640',
  require => Anchor['swift::install::end'],
  before  => Anchor['swift::service::begin'],
}
