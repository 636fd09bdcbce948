# A storage host: swift's account, container and object servers over three directories as devices.
Exec { path => ['/usr/bin', '/bin'], logoutput => on_failure }

class { 'swift':
  swift_hash_path_suffix => lookup('lab::secrets::swift_hash_suffix'),
  swift_hash_path_prefix => lookup('lab::secrets::swift_hash_prefix'),
}
include swift::storage::all
swift::storage::filter::healthcheck { ['account', 'container', 'object']: }
swift::storage::filter::recon { ['account', 'container', 'object']: }

# No erasure coding, no sharded and no synchronised containers here: their daemons would only idle.
Service<| title == 'swift-object-reconstructor' or title == 'swift-container-sharder' or title == 'swift-container-sync' |> {
  ensure => stopped,
  enable => false,
}

file { ['/srv/node', '/srv/node/d1', '/srv/node/d2', '/srv/node/d3']:
  ensure  => directory,
  owner   => 'swift',
  group   => 'swift',
  mode    => '0755',
  require => Anchor['swift::install::end'],
  before  => Anchor['swift::service::begin'],
}
exec { 'swift rings':
  command => "/etc/backstay/puppet/files/swift-rings ${lookup('lab::storage_addresses')[0]} /etc/swift",
  unless  => 'test -s /etc/swift/account.ring.gz -a -s /etc/swift/container.ring.gz -a -s /etc/swift/object.ring.gz',
  require => Anchor['swift::config::end'],
  before  => Anchor['swift::service::begin'],
}
# Debian's package leaves it readable by everyone; it holds the hash suffix.
file { '/etc/swift/swift.conf':
  owner   => 'root',
  group   => 'swift',
  mode    => '0640',
  require => Anchor['swift::install::end'],
  before  => Anchor['swift::service::begin'],
}
