"""Databases shaped like OpenStack's: uuids, JSON blobs, indexes, foreign keys; the same each time.

The server makes the rows itself, from sequences and digests of their numbers. At size 1 it is
about 1 GB in 8 databases with 3.3 million rows.
"""

from collections.abc import Iterator

_JSON = (
    '{"nova_object.name": "%s", "nova_object.namespace": "nova", "nova_object.version": "1.2", '
    '"nova_object.data": {"id": 0, "name": "m1.small", "memory_mb": 2048, "vcpus": 1, '
    '"root_gb": 20, "ephemeral_gb": 0, "flavorid": "@", "swap": 0, "rxtx_factor": 1.0, '
    '"vcpu_weight": 0, "disabled": false, "is_public": true, "extra_specs": {"hw:cpu_policy": '
    '"shared", "aggregate_instance_extra_specs:class": "general"}, "description": null, '
    '"created_at": "2026-01-05T10:11:12Z", "updated_at": null, "deleted_at": null, "deleted": '
    'false, "project_id": "#", "instance_uuid": "@", "numa_topology": null, "pci_requests": '
    '{"nova_object.name": "InstancePCIRequests", "nova_object.version": "1.1"}}}'
)

_STAMPS = "created_at DATETIME, updated_at DATETIME, deleted_at DATETIME, deleted INT DEFAULT 0"


def _uuid(of: str, number: str = "seq") -> str:
    digest = f"MD5(CONCAT('{of}', {number}))"
    for at in (9, 14, 19, 24):
        digest = f"INSERT({digest}, {at}, 0, '-')"
    return digest


def _json(name: str, length: int = 1) -> str:
    """Return a document of an object of nova's, ``length`` times over."""
    text = "[" + ", ".join([_JSON % name] * length) + "]"
    return f"REPLACE(REPLACE('{text}', '@', {_uuid('i')}), '#', MD5(CONCAT('p', seq % 2000)))"


def _time(after: str = "seq") -> str:
    return f"TIMESTAMPADD(SECOND, {after}, '2025-01-01 00:00:00')"


def _stamps() -> str:
    return f"{_time()}, {_time('seq + 77')}, NULL, 0"


# Database, table, columns and keys, rows at size 1, what each row holds.
_TABLES = (
    (
        "keystone",
        "project",
        "id VARCHAR(64) PRIMARY KEY, name VARCHAR(64), extra TEXT, description TEXT, enabled BOOL, "
        "domain_id VARCHAR(64), parent_id VARCHAR(64), UNIQUE (domain_id, name)",
        2_000,
        "MD5(CONCAT('p', seq - 1)), CONCAT('project-', seq), '{}', '', 1, 'default', NULL",
    ),
    (
        "keystone",
        "user",
        "id VARCHAR(64) PRIMARY KEY, extra TEXT, enabled BOOL, default_project_id VARCHAR(64), "
        "created_at DATETIME, domain_id VARCHAR(64), KEY (default_project_id), FOREIGN KEY "
        "(default_project_id) REFERENCES project (id)",
        20_000,
        f"MD5(CONCAT('u', seq)), '{{}}', 1, MD5(CONCAT('p', seq % 2000)), {_time()}, 'default'",
    ),
    (
        "keystone",
        "assignment",
        "type VARCHAR(16), actor_id VARCHAR(64), target_id VARCHAR(64), role_id VARCHAR(64), "
        "inherited BOOL, PRIMARY KEY (type, actor_id, target_id, role_id, inherited), "
        "KEY (actor_id)",
        80_000,
        "'UserProject', MD5(CONCAT('u', seq)), MD5(CONCAT('p', seq % 2000)), "
        "MD5(CONCAT('r', seq % 3)), 0",
    ),
    (
        "glance",
        "images",
        "id VARCHAR(36) PRIMARY KEY, name VARCHAR(255), size BIGINT, status VARCHAR(30), "
        "created_at DATETIME, checksum VARCHAR(32), owner VARCHAR(255), min_ram INT, KEY (owner), "
        "KEY (checksum)",
        20_000,
        f"{_uuid('g')}, CONCAT('image-', seq), seq * 4096, 'active', {_time()}, MD5(seq), "
        "MD5(CONCAT('p', seq % 2000)), 0",
    ),
    (
        "glance",
        "image_properties",
        "id INT PRIMARY KEY, image_id VARCHAR(36), name VARCHAR(255), value TEXT, "
        "UNIQUE (image_id, name), FOREIGN KEY (image_id) REFERENCES images (id)",
        80_000,
        f"seq, {_uuid('g', '1 + seq % 20000')}, CONCAT('hw_property_', seq DIV 20000), MD5(seq)",
    ),
    (
        "placement",
        "consumers",
        "id INT PRIMARY KEY, uuid VARCHAR(36) UNIQUE, project_id INT, user_id INT, generation INT, "
        "created_at DATETIME, KEY (project_id, uuid)",
        200_000,
        f"seq, {_uuid('i')}, seq % 2000, seq % 20000, 1, {_time()}",
    ),
    (
        "placement",
        "allocations",
        "id INT PRIMARY KEY, resource_provider_id INT, consumer_id VARCHAR(36), "
        "resource_class_id INT, used INT, created_at DATETIME, updated_at DATETIME, "
        "KEY (resource_provider_id, resource_class_id, used), KEY (consumer_id)",
        400_000,
        f"seq, seq % 1000, {_uuid('i', '1 + seq % 200000')}, seq DIV 200000, seq % 7, "
        f"{_time()}, NULL",
    ),
    (
        "nova_api",
        "instance_mappings",
        "id INT PRIMARY KEY, instance_uuid VARCHAR(36) UNIQUE, cell_id INT, "
        "project_id VARCHAR(255), "
        "queued_for_delete BOOL, user_id VARCHAR(255), created_at DATETIME, KEY (project_id), "
        "KEY (user_id, project_id)",
        200_000,
        f"seq, {_uuid('i')}, 1, MD5(CONCAT('p', seq % 2000)), 0, "
        f"MD5(CONCAT('u', seq % 20000)), {_time()}",
    ),
    (
        "nova_api",
        "request_specs",
        "id INT PRIMARY KEY, instance_uuid VARCHAR(36) UNIQUE, spec MEDIUMTEXT, "
        "created_at DATETIME",
        150_000,
        f"seq, {_uuid('i')}, {_json('RequestSpec')}, {_time()}",
    ),
    (
        "nova",
        "instances",
        f"{_STAMPS}, id INT PRIMARY KEY, uuid VARCHAR(36) UNIQUE, user_id VARCHAR(255), "
        "project_id VARCHAR(255), image_ref VARCHAR(255), hostname VARCHAR(255), vm_state "
        "VARCHAR(255), host VARCHAR(255), display_name VARCHAR(255), key_data MEDIUMTEXT, "
        "KEY (project_id), KEY (host, deleted), KEY (updated_at)",
        200_000,
        f"{_stamps()}, seq, {_uuid('i')}, MD5(CONCAT('u', seq % 20000)), "
        f"MD5(CONCAT('p', seq % 2000)), {_uuid('g', '1 + seq % 20000')}, CONCAT('server-', seq), "
        "'active', CONCAT('compute-', seq % 1000), CONCAT('server-', seq), "
        "CONCAT('ssh-ed25519 ', TO_BASE64(SHA2(seq % 20000, 256)))",
    ),
    (
        "nova",
        "instance_extra",
        f"{_STAMPS}, id INT PRIMARY KEY, instance_uuid VARCHAR(36), flavor MEDIUMTEXT, "
        "vcpu_model TEXT, UNIQUE (instance_uuid), FOREIGN KEY (instance_uuid) REFERENCES "
        "instances (uuid)",
        200_000,
        f"{_stamps()}, seq, {_uuid('i')}, {_json('Flavor')}, NULL",
    ),
    (
        "nova",
        "instance_info_caches",
        f"{_STAMPS}, id INT PRIMARY KEY, instance_uuid VARCHAR(36), network_info MEDIUMTEXT, "
        "UNIQUE (instance_uuid), FOREIGN KEY (instance_uuid) REFERENCES instances (uuid)",
        200_000,
        f"{_stamps()}, seq, {_uuid('i')}, {_json('NetworkInfo')}",
    ),
    (
        "nova",
        "instance_system_metadata",
        f"{_STAMPS}, id INT PRIMARY KEY, instance_uuid VARCHAR(36), `key` VARCHAR(255), "
        "value VARCHAR(255), KEY (instance_uuid), FOREIGN KEY (instance_uuid) REFERENCES "
        "instances (uuid)",
        600_000,
        f"{_stamps()}, seq, {_uuid('i', '1 + seq % 200000')}, "
        "CONCAT('image_property_', seq DIV 200000), MD5(seq)",
    ),
    (
        "nova",
        "instance_actions",
        f"{_STAMPS}, id INT PRIMARY KEY, action VARCHAR(255), instance_uuid VARCHAR(36), "
        "request_id VARCHAR(255), user_id VARCHAR(255), project_id VARCHAR(255), "
        "KEY (instance_uuid, updated_at), KEY (request_id)",
        300_000,
        f"{_stamps()}, seq, 'create', {_uuid('i', '1 + seq % 200000')}, "
        f"CONCAT('req-', {_uuid('q')}), MD5(CONCAT('u', seq % 20000)), "
        "MD5(CONCAT('p', seq % 2000))",
    ),
    (
        "nova_cell0",
        "instances",
        f"{_STAMPS}, id INT PRIMARY KEY, uuid VARCHAR(36) UNIQUE, vm_state VARCHAR(255)",
        20_000,
        f"{_stamps()}, seq, {_uuid('0')}, 'error'",
    ),
    (
        "cinder",
        "volumes",
        f"{_STAMPS}, id VARCHAR(36) PRIMARY KEY, project_id VARCHAR(255), size INT, "
        "status VARCHAR(255), display_name VARCHAR(255), host VARCHAR(255), KEY (host), "
        "KEY (project_id, deleted)",
        80_000,
        f"{_stamps()}, {_uuid('v')}, MD5(CONCAT('p', seq % 2000)), 10, 'in-use', "
        "CONCAT('volume-', seq), 'controller@ceph#ceph'",
    ),
    (
        "cinder",
        "volume_attachment",
        f"{_STAMPS}, id VARCHAR(36) PRIMARY KEY, volume_id VARCHAR(36), instance_uuid VARCHAR(36), "
        "attach_status VARCHAR(255), connection_info TEXT, FOREIGN KEY (volume_id) REFERENCES "
        "volumes (id)",
        80_000,
        f"{_stamps()}, {_uuid('a')}, {_uuid('v')}, {_uuid('i')}, 'attached', {_json('Attachment')}",
    ),
    (
        "neutron",
        "standardattributes",
        "id INT PRIMARY KEY, resource_type VARCHAR(255), created_at DATETIME, updated_at DATETIME, "
        "revision_number INT, description VARCHAR(255)",
        200_000,
        f"seq, 'ports', {_time()}, {_time('seq + 5')}, 4, ''",
    ),
    (
        "neutron",
        "ports",
        "id VARCHAR(36) PRIMARY KEY, project_id VARCHAR(255), network_id VARCHAR(36), "
        "mac_address VARCHAR(32), device_id VARCHAR(255), device_owner VARCHAR(255), "
        "status VARCHAR(16), standard_attr_id INT UNIQUE, UNIQUE (network_id, mac_address), "
        "KEY (device_id), FOREIGN KEY (standard_attr_id) REFERENCES standardattributes (id)",
        200_000,
        f"{_uuid('n')}, MD5(CONCAT('p', seq % 2000)), {_uuid('w', 'seq % 2000')}, "
        f"CONCAT('fa:16:3e:', LEFT({_uuid('m')}, 8)), {_uuid('i')}, 'compute:nova', 'ACTIVE', seq",
    ),
    (
        "neutron",
        "ipallocations",
        "port_id VARCHAR(36), ip_address VARCHAR(64), subnet_id VARCHAR(36), "
        "PRIMARY KEY (ip_address, subnet_id), KEY (port_id), FOREIGN KEY (port_id) REFERENCES "
        "ports (id)",
        200_000,
        f"{_uuid('n')}, INET_NTOA(167772160 + seq), {_uuid('s', 'seq % 2000')}",
    ),
    (
        "neutron",
        "ml2_port_bindings",
        "port_id VARCHAR(36), host VARCHAR(255), vif_type VARCHAR(64), profile VARCHAR(4095), "
        "vif_details VARCHAR(4095), PRIMARY KEY (port_id, host)",
        100_000,
        f"{_uuid('n')}, CONCAT('compute-', seq % 1000), 'bridge', '', "
        '\'{"port_filter": true, "connectivity": "l2"}\'',
    ),
)


def statements(size: float) -> Iterator[str]:
    """Give the SQL that makes the databases, ``size`` times as many rows as at size 1."""
    yield "SET unique_checks = 0, foreign_key_checks = 0, sql_log_bin = 0"
    for database in dict.fromkeys(table[0] for table in _TABLES):
        yield f"CREATE DATABASE {database} CHARACTER SET utf8mb3"
    for database, table, columns, rows, values in _TABLES:
        yield f"USE {database}"
        yield f"CREATE TABLE `{table}` ({columns}) ENGINE=InnoDB"
        count = max(1, round(rows * size))
        yield f"INSERT INTO `{table}` SELECT {values} FROM seq_1_to_{count}"


def tables() -> list[str]:
    """Return the names of all tables, as SQL writes them."""
    return [f"{database}.`{table}`" for database, table, *_ in _TABLES]
