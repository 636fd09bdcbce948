# Everything that the cloud controller consists of, in the order in which it depends on each other.
class lab::controller {
  include lab
  include lab::controller::database
  include lab::controller::messaging
  include lab::controller::keystone
  include lab::controller::glance
  include lab::controller::placement
  include lab::controller::nova
  include lab::controller::neutron
  include lab::controller::cinder
  include lab::controller::native_locks
  include lab::controller::identity

  # Schemas are made when the server takes queries; agents' services start when the broker knows them.
  Class['lab::controller::database'] -> Anchor<| title == 'keystone::db::begin' or title == 'glance::db::begin'
    or title == 'placement::db::begin' or title == 'nova::db::begin' or title == 'neutron::db::begin'
    or title == 'cinder::db::begin' |>
  Class['lab::controller::messaging'] -> Anchor<| title == 'nova::service::begin'
    or title == 'neutron::service::begin' or title == 'cinder::service::begin' |>
}
