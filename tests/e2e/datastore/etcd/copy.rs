use anyhow::{Result, ensure};
use etcd_client::{Error, LeaseStatus, PutOptions};
use kubectl_migrate::adapters::datastore::Pair as _;
use tonic::Code;

use super::{Row, keys, pair, quiet, row, stores};

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_with_its_lease_and_neighbours_stay_as_they_are() -> Result<()> {
    let (source, target) = stores().await?;
    let lease = source.lease(600).await?;
    let odd = [
        row(
            b"/t1/configmaps/shop/\xff\x00\xfe".as_slice(),
            b"\x00\xff".as_slice(),
        ),
        row("/t1/", "the first key"),
        row("/t1/secrets/empty", ""),
        Row {
            lease,
            ..row("/t1/events/shop/web.1", "an event")
        },
        Row {
            lease,
            ..row("/t1/leased/other", "of the same lease")
        },
    ];
    let large =
        (0..8).map(|number| row(format!("/t1/secrets/large-{number}"), vec![number; 1 << 20]));
    source
        .fill(keys(20_000, 200).chain(large).chain(odd))
        .await?;
    source
        .fill([row("/t10/pods/a", "neighbour"), row("/t1", "no folder")])
        .await?;
    let stale = [
        row("/t10/pods/a", "a neighbour of another store"),
        row("/t1/configmaps/shop/gone", "nobody has it any more"),
        row("/t1/secrets/large-3", "small"),
        row("/t1/zz", "behind all others"),
    ];
    target.fill(stale).await?;

    let pair = pair(&source, &target).await?;
    let copied = pair.copy(None, &quiet()).await?;
    ensure!(
        copied.read == 20_013 && copied.written == 20_013,
        "{copied:?}"
    );
    ensure!(copied.removed == 2 && !copied.anew, "{copied:?}");
    ensure!(source.rows("/t1/").await? == target.rows("/t1/").await?);
    ensure!(target.rows("/t10/").await? == [row("/t10/pods/a", "a neighbour of another store")]);
    ensure!(target.rows("/t1").await?[0].key != b"/t1");

    let left = target
        .client()
        .await?
        .lease_client()
        .time_to_live(lease, None)
        .await?
        .ttl();
    ensure!((500..=600).contains(&left), "{left}");

    let again = pair.copy(None, &quiet()).await?;
    ensure!(
        (again.read, again.written, again.removed) == (20_013, 0, 0),
        "{again:?}"
    );
    let compared = pair.compare(&quiet()).await?;
    ensure!(
        compared.different == 0 && compared.keys == 20_012,
        "{compared:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_runs_out_under_a_copy_is_no_fault() -> Result<()> {
    let (source, target) = stores().await?;
    source.fill(keys(300, 100)).await?;
    let client = source.client().await?;
    let (mut leases, mut kv) = (client.lease_client(), client.kv_client());
    for row in keys(300, 100).step_by(3) {
        // The shortest that etcd grants; it ends while others are still copied. Where it has ended before it was used,
        // there is another one.
        loop {
            let lease = leases.grant(1, None).await?.id();
            let options = PutOptions::new().with_lease(lease);
            match kv.put(&*row.key, &*row.value, Some(options)).await {
                Err(Error::GRpcStatus(status)) if status.code() == Code::NotFound => {}
                put => break drop(put?),
            }
        }
    }
    let pair = pair(&source, &target).await?;
    let ended = async {
        loop {
            pair.copy(None, &quiet()).await?;
            let left = source.rows("/t1/").await?;
            if left.iter().all(|row| row.lease == 0) {
                return anyhow::Ok(left);
            }
        }
    };
    let left = tokio::time::timeout(crate::support::BOUND, ended).await??;
    ensure!(left.len() == 200, "{}", left.len());
    pair.copy(None, &quiet()).await?;
    ensure!(target.rows("/t1/").await? == left);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clearing_takes_the_schema_and_its_leases_and_nothing_else() -> Result<()> {
    let (source, target) = stores().await?;
    let (own, shared) = (target.lease(600).await?, target.lease(600).await?);
    let leased = |key: &str, lease| Row {
        lease,
        ..row(key, "value")
    };
    let neighbours = [leased("/t10/events/b", shared), row("/t10/pods/a", "stays")];
    target.fill(keys(5_000, 50)).await?;
    target.fill(neighbours.clone()).await?;
    target
        .fill([leased("/t1/events/a", own), leased("/t1/events/b", shared)])
        .await?;
    source.fill(keys(10, 10)).await?;

    pair(&source, &target).await?.clear_target().await?;
    ensure!(target.rows("/").await? == neighbours);
    let mut leases = target.client().await?.lease_client();
    let left: Vec<i64> = leases
        .leases()
        .await?
        .leases()
        .iter()
        .map(LeaseStatus::id)
        .collect();
    ensure!(left == [shared], "{left:?}");
    ensure!(source.rows("/t1/").await?.len() == 10);
    Ok(())
}
