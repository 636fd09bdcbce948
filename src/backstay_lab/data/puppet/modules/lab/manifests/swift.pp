# What the storage proxy and the storage hosts have in common: the secret of the object paths, and
# the rings. Both must be equal on all of them, or objects are not found and, worse, quarantined.
#
# @param hash_suffix  the end of what every object's path is hashed with; never changed later
# @param hash_prefix  its beginning
class lab::swift (
  String[1] $hash_suffix = lookup('lab::secrets::swift_hash_suffix'),
  String[1] $hash_prefix = lookup('lab::secrets::swift_hash_prefix'),
) {
  include lab

  class { 'swift':
    swift_hash_path_suffix => $hash_suffix,
    swift_hash_path_prefix => $hash_prefix,
  }
  # Debian's package leaves it readable by everyone.
  file { '/etc/swift/swift.conf':
    owner   => 'root',
    group   => 'swift',
    mode    => '0640',
    require => Anchor['swift::install::end'],
    before  => Anchor['swift::service::begin'],
  }
  file { '/usr/local/sbin/swift-rings':
    mode   => '0755',
    source => 'puppet:///modules/lab/swift-rings',
  }
  # Debian's units are passed over, without a failure, while there are no rings.
  exec { 'swift rings':
    command   => "/usr/local/sbin/swift-rings ${lab::storage_addresses[0]} /etc/swift",
    unless    => '/usr/local/sbin/swift-rings --complete /etc/swift',
    path      => ['/usr/bin', '/bin'],
    logoutput => on_failure,
    require   => [Anchor['swift::config::end'], File['/usr/local/sbin/swift-rings']],
    before    => Anchor['swift::service::begin'],
  }
}
