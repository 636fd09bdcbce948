# Where the controller's services are reached.
class lab::controller_services {
  include lab
  include lab::secrets

  $keystone = "http://${lab::controller_address}:5000"
  $glance   = "http://${lab::controller_address}:9292"

  $transport_url = "rabbit://openstack:${lab::secrets::rabbitmq_password}@${lab::controller_address}:5672/"
}
