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

# Debian's package enables it, and it is needed only where a cluster has more than one policy.
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

# Block storage for volumes: Ceph with one monitor, one manager and one OSD. Its clients (librbd in
# QEMU and in cinder-volume) need nothing from the kernel.
class lab::ceph (
  String $fsid      = lookup('lab::secrets::ceph_fsid'),
  String $mon_key   = lookup('lab::secrets::ceph_mon_key'),
  String $admin_key = lookup('lab::secrets::ceph_admin_key'),
  String $mgr_key   = lookup('lab::secrets::ceph_mgr_key'),
  String $osd_key   = lookup('lab::secrets::ceph_osd_key'),
  String $cinder_key = lookup('lab::secrets::ceph_cinder_key'),
  String $address   = lookup('lab::address'),
  String $host      = lookup('lab::hostname'),
) {
  File { owner => 'root', group => 'root', mode => '0600', show_diff => false, before => Exec['ceph cluster'] }

  file { '/etc/ceph/ceph.conf':
    mode    => '0644',
    content => @("END"),
      [global]
      fsid = ${fsid}
      mon_initial_members = ${host}
      mon_host = [v2:${address}:3300,v1:${address}:6789]
      auth_allow_insecure_global_id_reclaim = false
      # one copy of everything on one OSD is meant here, so it is no reason to warn
      osd_pool_default_size = 1
      osd_pool_default_min_size = 1
      osd_crush_chooseleaf_type = 0
      mon_allow_pool_size_one = true
      mon_warn_on_pool_no_redundancy = false
      osd_pool_default_pg_autoscale_mode = off
      mon_data_avail_warn = 5
      [mgr]
      mgr_initial_modules =
      [osd]
      # BlueStore over a sparse file
      bluestore_block_create = true
      bluestore_block_size = 6442450944
      # memory: the cache is fixed and small instead of tuned towards osd_memory_target
      bluestore_cache_autotune = false
      bluestore_cache_size = 67108864
      osd_memory_target = 939524096
      osd_max_pg_log_entries = 500
      osd_min_pg_log_entries = 100
      osd_op_num_shards = 2
      osd_op_num_threads_per_shard = 1
      | END
  }
  file { '/etc/ceph/ceph.client.admin.keyring':
    content => "[client.admin]\n\tkey = ${admin_key}\n\tcaps mon = \"allow *\"\n\tcaps osd = \"allow *\"\n\tcaps mds = \"allow *\"\n\tcaps mgr = \"allow *\"\n",
  }
  # what the monitor knows from its first start on
  file { '/etc/ceph/cluster.keyring':
    content => @("END"),
      [mon.]
      	key = ${mon_key}
      	caps mon = "allow *"
      [client.admin]
      	key = ${admin_key}
      	caps mon = "allow *"
      	caps osd = "allow *"
      	caps mds = "allow *"
      	caps mgr = "allow *"
      [mgr.${host}]
      	key = ${mgr_key}
      	caps mon = "allow profile mgr"
      	caps osd = "allow *"
      	caps mds = "allow *"
      [client.cinder]
      	key = ${cinder_key}
      	caps mon = "profile rbd"
      	caps osd = "profile rbd pool=volumes"
      	caps mgr = "profile rbd pool=volumes"
      | END
  }
  file { '/etc/ceph/mgr.keyring': content => "[mgr.${host}]\n\tkey = ${mgr_key}\n" }
  file { '/etc/ceph/osd.keyring': content => "[osd.0]\n\tkey = ${osd_key}\n" }

  exec { 'ceph cluster':
    command => "/etc/backstay/puppet/files/ceph-cluster ${host} ${address} ${fsid}",
    unless  => 'systemctl is-active --quiet ceph-osd@0 && ceph --connect-timeout 20 osd pool stats volumes',
    timeout => 300,
  }
}
include lab::ceph
