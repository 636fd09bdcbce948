# What keystone must know of the storage proxy: its user, and where the object store answers.
class lab::controller::swift {
  include lab
  include lab::secrets
  include lab::controller::keystone

  $url = "http://${lab::proxy_address}:8080/v1/AUTH_%(project_id)s"

  class { 'swift::keystone::auth':
    password              => $lab::secrets::swift_password,
    region                => $lab::region,
    operator_roles        => ['admin'],
    configure_s3_endpoint => false,
    public_url            => $url,
    internal_url          => $url,
    admin_url             => $url,
  }
}
