# Where cinder keeps volumes: files in a directory, by cinder's NFS driver.
class lab::controller::volumes {
  include lab

  cinder::backend::nfs { 'volumes':
    nfs_servers                  => ["${lab::controller_address}:/volumes"],
    nas_secure_file_operations   => 'false',
    nas_secure_file_permissions  => 'false',
    nfs_snapshot_support         => false,
  }
  class { 'cinder::backends':
    enabled_backends => ['volumes'],
  }
}
