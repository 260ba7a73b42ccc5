//! kine, which stands between a tenant's API server and every store that is no etcd, in the same pod.
use serde_json::{Value, json};

use crate::{
    api::Tenant, cluster::Cluster, control_plane::STORE_PKI, driver::Driver, storage, store::Store,
};

/// Where the API server reaches it.
pub const SERVER: &str = "http://127.0.0.1:2379";
/// How often it compacts.
const COMPACTION: &str = "5m";

/// Its container, where one is needed. It gets its settings from the tenant's Secret when it starts.
pub fn container(cluster: &Cluster, tenant: &Tenant, store: &Store) -> Option<Value> {
    let login = "$(DB_USER):$(DB_PASSWORD)@";
    let endpoint = match store.driver {
        Driver::Etcd => return None,
        Driver::MySql => format!("mysql://{login}tcp($(DB_CONNECTION_STRING))/$(DB_SCHEMA)"),
        Driver::PostgreSql => format!("postgres://{login}$(DB_CONNECTION_STRING)/$(DB_SCHEMA)"),
        Driver::Nats => {
            format!("nats://{login}$(DB_CONNECTION_STRING)?bucket=$(DB_SCHEMA)&noEmbed")
        }
    };
    let mut arguments = vec![
        format!("--endpoint={endpoint}"),
        format!("--compact-interval={COMPACTION}"),
    ];
    if store.authority.is_some() {
        arguments.push(format!("--ca-file={STORE_PKI}/ca.crt"));
    }
    if store.identity.is_some() {
        arguments.push(format!("--cert-file={STORE_PKI}/server.crt"));
        arguments.push(format!("--key-file={STORE_PKI}/server.key"));
    }
    Some(json!({
        "name": "kine", "image": cluster.kine_image, "args": arguments,
        "envFrom": [{"secretRef": {"name": storage::config(tenant)}}],
        "volumeMounts": [{"name": "datastore", "mountPath": STORE_PKI, "readOnly": true}],
    }))
}
