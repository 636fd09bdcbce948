# Where cinder keeps volumes: Ceph, in the pool "volumes" on the storage host.
#
# @param key  of client.cinder
class lab::controller::volumes (
  String[1] $key = lookup('lab::secrets::ceph_cinder_key'),
) {
  include lab
  include lab::ceph::settings

  file { '/etc/ceph/ceph.client.cinder.keyring':
    owner     => 'root',
    group     => 'cinder',
    mode      => '0640',
    content   => "[client.cinder]\n\tkey = ${key}\n",
    show_diff => false,
    require   => [File['/etc/ceph'], Anchor['cinder::install::end']],
  }
  # The module would name the service rbd:volumes; with the host's name it belongs to the host, as
  # every other agent does.
  cinder::backend::rbd { 'volumes':
    rbd_pool                         => 'volumes',
    rbd_user                         => 'cinder',
    rbd_secret_uuid                  => $lab::ceph::settings::fsid,
    rbd_flatten_volume_from_snapshot => false,
    rados_connect_timeout            => 10,
    backend_host                     => 'controller',
  }
  class { 'cinder::backends':
    enabled_backends => ['volumes'],
  }
  Class['lab::ceph::settings'] ~> Service<| title == 'cinder-volume' |>
  File['/etc/ceph/ceph.client.cinder.keyring'] ~> Service<| title == 'cinder-volume' |>
}
