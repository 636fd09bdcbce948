# The URL by which a service on the controller reaches its database. The database stands on the
# same host, whatever address that host has at the moment, so that it can be built on a spare
# before the spare takes over the controller's address.
function lab::database_url(String[1] $user, String[1] $password, String[1] $database = $user) >> String {
  "mysql+pymysql://${user}:${password}@127.0.0.1/${database}?charset=utf8"
}
