# A storage host: swift's account, container and object servers over three directories as devices,
# and Ceph for volumes.
class lab::storage {
  include lab::swift
  include lab::ceph
  include swift::storage::all

  swift::storage::filter::healthcheck { ['account', 'container', 'object']: }
  swift::storage::filter::recon { ['account', 'container', 'object']: }

  # What an account says of its objects comes from its containers by the updater: after at most two
  # minutes instead of five. A sweep costs five seconds of CPU, however little there is.
  swift_container_config { 'container-updater/interval':
    value   => 120,
    require => File['/etc/swift/container-server.conf'],
  }

  # No erasure coding, no sharded and no synchronised containers here: their daemons would only idle.
  Service<| title == 'swift-object-reconstructor' or title == 'swift-container-sharder'
    or title == 'swift-container-sync' |> {
    ensure => stopped,
    enable => false,
  }
  # Debian's package enables it, and only clusters with several storage policies need it.
  service { 'swift-container-reconciler':
    ensure  => stopped,
    enable  => false,
    require => Anchor['swift::install::end'],
  }

  file { ['/srv/node', '/srv/node/d1', '/srv/node/d2', '/srv/node/d3']:
    ensure  => directory,
    owner   => 'swift',
    group   => 'swift',
    mode    => '0755',
    require => Anchor['swift::install::end'],
    before  => Anchor['swift::service::begin'],
  }
}
