# The controller's secrets, generated when the cloud is built. Missing ones stop the run by name,
# before anything is changed.
class lab::secrets (
  String[1] $admin_password,
  String[1] $rabbitmq_password,
  String[1] $rabbitmq_erlang_cookie,
  String[1] $metadata_shared_secret,
  String[1] $keystone_db_password,
  String[1] $glance_db_password,
  String[1] $placement_db_password,
  String[1] $nova_db_password,
  String[1] $neutron_db_password,
  String[1] $cinder_db_password,
  String[1] $glance_password,
  String[1] $placement_password,
  String[1] $nova_password,
  String[1] $neutron_password,
  String[1] $cinder_password,
  String[1] $swift_password,
) {
}
