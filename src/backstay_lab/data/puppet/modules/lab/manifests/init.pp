# What every host must know of its cloud: addresses, and how many hosts there are.
#
# @param hostname            this host's name
# @param address             this host's own address on the management network
# @param controller_address  the address of the cloud controller: every API but the object store's
# @param proxy_address       the address of the storage proxy: the object store's API
# @param storage_addresses   the addresses of the storage hosts
# @param compute_count       how many compute hosts there are
# @param provider_cidr       the flat network of the instances
# @param provider_gateway    its gateway
# @param region              the region's name in the catalogue
class lab (
  String[1]           $hostname,
  Stdlib::IP::Address $address,
  Stdlib::IP::Address $controller_address,
  Stdlib::IP::Address $proxy_address,
  Array[String[1]]    $storage_addresses,
  Integer[0]          $compute_count,
  String[1]           $provider_cidr,
  Stdlib::IP::Address $provider_gateway,
  String[1]           $region,
) {
}
