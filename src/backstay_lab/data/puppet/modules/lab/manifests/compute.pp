# Everything that a compute host consists of. Its instances need no other host once they run: their
# hypervisor, their bridge and their DHCP server are all here.
class lab::compute {
  include lab
  include lab::compute::hypervisor
  include lab::compute::nova
  include lab::compute::neutron
  include lab::compute::volumes

  # Instances are wired by the agent; it is there before the first of them is resumed.
  Class['lab::compute::hypervisor'] -> Service<| title == 'nova-compute' |>
}
