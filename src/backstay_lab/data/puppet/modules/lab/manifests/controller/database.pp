# MariaDB. root comes in by the unix socket, as Debian sets it up: no password to keep.
class lab::controller::database {
  class { 'mysql::server':
    restart                 => true,
    service_name            => 'mariadb',
    remove_default_accounts => false,
    override_options        => {
      'mysqld' => {
        'bind-address'                   => '0.0.0.0',
        'pid-file'                       => '/run/mysqld/mysqld.pid',
        'skip-name-resolve'              => true,
        'max_connections'                => 400,
        'innodb_buffer_pool_size'        => '128M',
        # The binary log is kept from the first statement on: backups stream it.
        'server_id'                      => 1,
        'log_bin'                        => 'mysql-bin',
        'binlog_format'                  => 'ROW',
        'expire_logs_days'               => 3,
        # Written at every commit, flushed once a second: a killed host loses nothing, because the
        # machine under it keeps its page cache. A real controller flushes at every commit.
        'sync_binlog'                    => 0,
        'innodb_flush_log_at_trx_commit' => 2,
      },
    },
  }
}
