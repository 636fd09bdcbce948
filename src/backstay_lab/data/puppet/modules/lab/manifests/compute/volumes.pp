# How QEMU comes to the volumes: librbd, with the key that libvirt keeps as a secret. Cinder names
# the secret and the monitors in each attachment, so nova needs no setting of its own.
#
# @param key  of client.cinder
class lab::compute::volumes (
  String[1] $key = lookup('lab::secrets::ceph_cinder_key'),
) {
  include lab
  include lab::ceph::settings

  $uuid = $lab::ceph::settings::fsid

  # As libvirt itself writes them on secret-define and secret-set-value: it reads them when it
  # starts. Giving the key to virsh would show it in the list of processes.
  file { '/etc/libvirt/secrets':
    ensure  => directory,
    mode    => '0700',
  }
  file { "/etc/libvirt/secrets/${uuid}.xml":
    mode    => '0600',
    content => @("END"),
      <secret ephemeral='no' private='no'>
        <uuid>${uuid}</uuid>
        <usage type='ceph'>
          <name>client.cinder</name>
        </usage>
      </secret>
      | END
    notify  => Service['libvirtd'],
  }
  file { "/etc/libvirt/secrets/${uuid}.base64":
    mode      => '0600',
    content   => $key,
    show_diff => false,
    notify    => Service['libvirtd'],
  }
}
