# libvirt and QEMU, without what a container has no right to.
class lab::compute::hypervisor {
  file { '/etc/libvirt/qemu.conf':
    source => 'puppet:///modules/lab/qemu.conf',
    mode   => '0600',
    notify => Service['libvirtd'],
  }
  # The group "libvirt" may use the socket, and nova is in it. polkit, which would be asked
  # otherwise, is not there; nova-compute would wait for it and then end without a failure.
  file { '/etc/libvirt/libvirtd.conf':
    content => "auth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\nunix_sock_group = \"libvirt\"\nunix_sock_rw_perms = \"0770\"\n",
    notify  => Service['libvirtd'],
  }
  # As packaged it ends after two idle minutes and is started by its socket again. A daemon that
  # comes and goes cannot be told from one that fails.
  file { '/etc/default/libvirtd':
    content => "LIBVIRTD_ARGS=\n",
    notify  => Service['libvirtd'],
  }
  # libvirt's own network with its own DHCP server, which no instance here uses.
  file { '/etc/libvirt/qemu/networks/autostart/default.xml':
    ensure => absent,
    notify => Service['libvirtd'],
  }
  # Which instances run after a start is nova's decision (resume_guests_state_on_host_boot).
  # libvirt-guests would press their power buttons at shutdown, wait for each, and nova would take
  # that for the users' wish.
  service { 'libvirt-guests':
    ensure => stopped,
    enable => mask,
  }
  # virtlogd comes with its socket, and goes when no instance writes.
  service { ['virtlogd.socket', 'libvirtd']:
    ensure => running,
    enable => true,
  }
  # Comes with neutron's agents for a metadata proxy that starts one of its own where it is needed.
  service { 'haproxy':
    ensure => stopped,
    enable => mask,
  }
}
