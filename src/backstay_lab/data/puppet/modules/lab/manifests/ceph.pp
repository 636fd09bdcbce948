# Block storage for volumes: Ceph with one monitor, one manager and one OSD on this host. Its
# clients, librbd in QEMU and in cinder-volume, need nothing from the kernel.
#
# @param mon_key     key of the monitors
# @param admin_key   key of client.admin, which stays on this host
# @param cinder_key  key of client.cinder, which may use the pool "volumes" and nothing else
class lab::ceph (
  String[1] $mon_key    = lookup('lab::secrets::ceph_mon_key'),
  String[1] $admin_key  = lookup('lab::secrets::ceph_admin_key'),
  String[1] $cinder_key = lookup('lab::secrets::ceph_cinder_key'),
) {
  include lab
  include lab::ceph::settings

  File {
    before    => Exec['ceph cluster'],
    show_diff => false,
  }
  $admin = @("END")
    [client.admin]
    	key = ${admin_key}
    	caps mon = "allow *"
    	caps osd = "allow *"
    	caps mds = "allow *"
    	caps mgr = "allow *"
    | END
  file { '/etc/ceph/ceph.client.admin.keyring':
    mode    => '0600',
    content => $admin,
  }
  # What the monitor knows from its first start on; the manager's and the OSD's keys are made here.
  $others = @("END")
    [mon.]
    	key = ${mon_key}
    	caps mon = "allow *"
    [client.cinder]
    	key = ${cinder_key}
    	caps mon = "profile rbd"
    	caps osd = "profile rbd pool=volumes"
    	caps mgr = "profile rbd pool=volumes"
    | END
  file { '/etc/ceph/cluster.keyring':
    mode    => '0600',
    content => "${admin}${others}",
  }
  file { '/usr/local/sbin/ceph-cluster':
    mode   => '0755',
    source => 'puppet:///modules/lab/ceph-cluster',
  }
  exec { 'ceph cluster':
    command   => "/usr/local/sbin/ceph-cluster ${lab::hostname} ${lab::address} ${lab::ceph::settings::fsid}",
    unless    => "/usr/local/sbin/ceph-cluster --complete ${lab::hostname}",
    path      => ['/usr/sbin', '/usr/bin', '/sbin', '/bin'],
    logoutput => on_failure,
    timeout   => 300,
    require   => Class['lab::ceph::settings'],
  }
  # Comes with ceph-osd for disks on the network; it fails where the kernel has no NVMe.
  service { 'nvmf-autoconnect':
    ensure => stopped,
    enable => mask,
  }
}
