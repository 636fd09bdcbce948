# The three URLs of a service's endpoint: one network, so all are the same.
function lab::endpoint(String[1] $url) >> Hash[String, String] {
  { 'public_url' => $url, 'internal_url' => $url, 'admin_url' => $url }
}
