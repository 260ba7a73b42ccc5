//! How long writes are refused does not grow with what the tenant has. `tests/bench/run` reads the line that begins
//! with `figure`.
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kubectl_migrate::adapters::{
    datastore::{Connection, Driver, Endpoint, EtcdPair, Pair as _},
    kamaji::{DataStore, data_stores, read_credentials},
    kube::{ConnectionFlags, Tunnel, connect, get_opt},
};

use super::{
    super::{
        datastore::{etcd, quiet, wanted},
        support::On,
    },
    client::Writer,
    place::{GOLD, Place, SILVER},
    switch::switch,
    tenant::Tenant,
};

/// Keys of the small tenant.
const FEW: usize = 1_000;
/// Keys of the large one, without `BENCH_KEYS`.
const MANY: usize = 50_000;

/// Fills a schema of store `silver` with so many keys of 1 KiB. They are of a resource that no API server has, so
/// that none holds them in memory: its start would be what is measured.
async fn fill(schema: &str, keys: usize) -> Result<()> {
    let place = Place::get()?;
    let filled = Box::pin(etcd::Server::with("filled", &etcd::ROOM)).await?;
    let rows = etcd::keys_of(schema, "figures", keys, 1_024);
    filled.fill(rows).await?;
    let flags = ConnectionFlags {
        kubeconfig: Some(On::A.kubeconfig()?.into()),
        ..ConnectionFlags::default()
    };
    let cluster = connect(&flags).await?;
    let found = get_opt(&data_stores(&cluster), SILVER).await?;
    let store = DataStore::new(found.context("no datastore")?)?;
    let credentials = read_credentials(&cluster, &store, Driver::Etcd)
        .await
        .map_err(|flaws| anyhow::anyhow!("{flaws:?}"))?;
    let endpoint = place.silver.endpoint();
    let (host, _) = endpoint.rsplit_once(':').context("no port")?;
    let tunnel = Tunnel::open(&cluster, &endpoint).await?;
    let tunnel = tunnel.context("no pod behind the Service")?;
    let silver = Connection {
        name: store.shown(),
        driver: Driver::Etcd,
        endpoints: vec![Endpoint {
            dial: tunnel.address(),
            host: host.to_owned(),
            shown: endpoint.clone(),
        }],
        authority: credentials.authority,
        identity: credentials.identity,
        basic: credentials.basic,
    };
    let pair = Box::pin(EtcdPair::open(&filled.connection(), &silver, schema)).await?;
    let copied = pair.copy(None, &quiet()).await?;
    ensure!(copied.written == keys as u64, "{copied:?}");
    Ok(())
}

/// For how long a tenant with so many keys accepts no write when it is moved.
fn refused_for(name: &str, keys: usize) -> Result<Duration> {
    let schema = format!("{name}-{}", std::process::id());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(Box::pin(fill(&schema, keys)))?;
    let tenant = Tenant::in_schema(name, SILVER, &schema)?;
    let writer = Writer::start(&tenant.kubeconfig(), name);
    let ended = switch(&tenant, GOLD, &[]);
    let told = writer.end()?;
    let ended = ended?.with_code(0)?;
    // What it was made of.
    println!("{keys} keys:\n{}", ended.err);
    let there = tenant.kubectl(&["get", "configmaps", "-o", "json"])?;
    told.holds(&serde_json::from_str(&there)?)?;
    ensure!(
        tenant.place.gold.count(&schema)? > keys as u64,
        "not all keys came"
    );
    Ok(told.gap)
}

#[test]
fn writes_are_refused_no_longer_with_many_keys() -> Result<()> {
    let many = wanted(MANY)?;
    let (small, large) = (refused_for("few", FEW)?, refused_for("many", many)?);
    println!(
        "figure refused keys={many} few={:.2} many={:.2}",
        small.as_secs_f64(),
        large.as_secs_f64()
    );
    Ok(())
}
