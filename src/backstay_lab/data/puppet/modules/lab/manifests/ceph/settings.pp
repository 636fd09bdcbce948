# /etc/ceph/ceph.conf, the same on the storage host and on all clients.
#
# @param fsid  the cluster's UUID; libvirt's secret with the key of client.cinder has it too
class lab::ceph::settings (
  String[36, 36] $fsid = lookup('lab::secrets::ceph_fsid'),
) {
  include lab

  $address = $lab::storage_addresses[0]

  file { '/etc/ceph':
    ensure => directory,
  }
  file { '/etc/ceph/ceph.conf':
    mode    => '0644',
    content => @("END"),
      [global]
      fsid = ${fsid}
      mon_host = [v2:${address}:3300,v1:${address}:6789]
      auth_allow_insecure_global_id_reclaim = false
      # One copy of everything on one OSD is meant here, so it is no reason to warn.
      osd_pool_default_size = 1
      osd_pool_default_min_size = 1
      osd_crush_chooseleaf_type = 0
      osd_pool_default_pg_autoscale_mode = off
      mon_allow_pool_size_one = true
      mon_warn_on_pool_no_redundancy = false
      # The host's disk is small: the default would warn from 30 percent on.
      mon_data_avail_warn = 10
      [osd]
      # BlueStore over a sparse file of 6 GiB
      bluestore_block_create = true
      bluestore_block_size = 6442450944
      # A fixed small cache, instead of one that grows towards osd_memory_target (at least 896 MiB)
      bluestore_cache_autotune = false
      bluestore_cache_size = 67108864
      osd_max_pg_log_entries = 500
      osd_min_pg_log_entries = 100
      osd_op_num_shards = 2
      osd_op_num_threads_per_shard = 1
      | END
  }
}
