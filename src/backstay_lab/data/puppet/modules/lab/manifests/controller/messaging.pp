# RabbitMQ with its management API (15672), and memcached.
class lab::controller::messaging {
  include lab
  include lab::secrets

  # The node's name and cookie are the cloud's, not the machine's: a controller that is built again
  # elsewhere is the same broker. The package has put a cookie of its own there; it must be
  # replaced before the first start.
  file { '/var/lib/rabbitmq/.erlang.cookie':
    content => $lab::secrets::rabbitmq_erlang_cookie,
    owner   => 'rabbitmq',
    group   => 'rabbitmq',
    mode    => '0400',
    require => Class['rabbitmq::install'],
    notify  => Class['rabbitmq::service'],
  }
  # Written before the first start; enabling it afterwards by command costs five seconds.
  file { '/etc/rabbitmq/enabled_plugins':
    content => "[rabbitmq_management].\n",
    require => Class['rabbitmq::install'],
    notify  => Class['rabbitmq::service'],
  }
  class { 'rabbitmq':
    repos_ensure          => false,
    manage_python         => false,
    # rabbitmqadmin would be fetched from the broker by a module that Debian does not have.
    admin_enable          => false,
    delete_guest_user     => true,
    environment_variables => {
      'RABBITMQ_NODENAME'                    => 'rabbit@controller',
      # One scheduler that sleeps when idle, on cores that all hosts share.
      'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS' => '"+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"',
    },
  }
  # Reads the management API too, as monitoring does; it administers nothing.
  rabbitmq_user { 'openstack':
    password => $lab::secrets::rabbitmq_password,
    admin    => false,
    tags     => ['monitoring'],
    require  => Class['rabbitmq'],
  }
  rabbitmq_user_permissions { 'openstack@/':
    configure_permission => '.*',
    write_permission     => '.*',
    read_permission      => '.*',
  }

  include memcached
}
