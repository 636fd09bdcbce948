# nova-compute.
class lab::compute::nova {
  include lab::nova

  # libvirtd and virtlogd are lab::compute::hypervisor's.
  class { 'nova::compute::libvirt':
    manage_libvirt_services => false,
  }
  include nova::compute

  # Emulation needs what nova-compute-kvm brings: nova-compute-qemu depends on emulators for every
  # processor there is. Its own file, read after nova.conf, would ask for KVM.
  Package<| title == 'nova-compute-qemu' |> { name => 'nova-compute-kvm' }
  file { '/etc/nova/nova-compute.conf':
    content => "# what a package would say here stands in nova.conf\n",
    require => Anchor['nova::config::begin'],
    before  => Anchor['nova::config::end'],
    notify  => Service['nova-compute'],
  }
}
