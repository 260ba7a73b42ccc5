use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::Pair as _;

use super::{Row, keys, pair, quiet, row, stores};

#[tokio::test(flavor = "multi_thread")]
async fn each_difference_is_found_and_named() -> Result<()> {
    let (source, target) = stores().await?;
    let lease = source.lease(600).await?;
    let leased = Row {
        lease,
        ..row("/t1/leased/a", "1")
    };
    source.fill(keys(12_000, 500).chain([leased])).await?;
    let pair = pair(&source, &target).await?;
    pair.copy(None, &quiet()).await?;
    let equal = pair.compare(&quiet()).await?;
    ensure!(equal.different == 0 && equal.keys == 12_001, "{equal:?}");
    ensure!(
        equal.bytes > 12_000 * 500 && equal.digest.len() == 64,
        "{equal:?}"
    );

    let mut value = keys(12_000, 500).nth(7_000).expect("so many").value;
    value[499] = 0xff;
    target
        .fill([
            row("/t1/configmaps/shop/item-0007000", value),
            row("/t1/configmaps/shop/item-0000003a", "1"),
            row("/t1/leased/a", "1"),
            row(b"/t1/zz\xff".as_slice(), "1"),
        ])
        .await?;
    let mut kv = target.client().await?.kv_client();
    kv.delete("/t1/configmaps/shop/item-0011999", None).await?;
    let found = pair.compare(&quiet()).await?;
    let told: Vec<_> = found
        .differences
        .iter()
        .map(|at| (&*at.key, &*at.how))
        .collect();
    ensure!(
        told == [
            ("configmaps/shop/item-0000003a", "only at the target"),
            ("configmaps/shop/item-0007000", "other value"),
            ("configmaps/shop/item-0011999", "missing at the target"),
            ("leased/a", "without its lease"),
            ("zz\\xff", "only at the target"),
        ],
        "{told:?}"
    );
    ensure!(
        found.different == 5 && found.digest == equal.digest,
        "{found:?}"
    );

    pair.copy(None, &quiet()).await?;
    let healed = pair.compare(&quiet()).await?;
    ensure!(healed == equal, "{healed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_api_server_changes_by_itself_is_counted_only() -> Result<()> {
    let (source, target) = stores().await?;
    let freeze = "/t1/validatingwebhookconfigurations/kamaji-freeze";
    let own = [
        "/t1/masterleases/10.0.0.1",
        "/t1/peerserverleases/apiserver-1",
        "/t1/leases/kube-node-lease/node-1",
        "/t1/leases/kube-system/kube-scheduler",
        "/t1/events/shop/web.1",
        "/t1/ranges/serviceips",
        freeze,
    ];
    source.fill(own.map(|key| row(key, "source"))).await?;
    target.fill(own.map(|key| row(key, "target"))).await?;
    let same = ["/t1/events/shop/web.2", "/t1/leases/shop/operator"];
    source.fill(same.map(|key| row(key, "same"))).await?;
    target.fill(same.map(|key| row(key, "same"))).await?;

    let found = pair(&source, &target).await?.compare(&quiet()).await?;
    ensure!((found.keys, found.different) == (1, 0), "{found:?}");
    let ignored: Vec<_> = found
        .ignored
        .iter()
        .map(|at| (&*at.class, at.different, at.keys))
        .collect();
    ensure!(
        ignored
            == [
                ("API server leases", 1, 1),
                ("API servers' leases to each other", 1, 1),
                ("node leases", 1, 1),
                ("system leases", 1, 1),
                ("events", 1, 2),
                ("address and port allocations", 1, 1),
                ("Kamaji's freeze", 1, 1),
            ],
        "{ignored:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ends_is_no_difference_and_one_that_goes_on_is() -> Result<()> {
    let (source, target) = stores().await?;
    let long = source.lease(600).await?;
    let leased = |key: &str, lease| Row {
        lease,
        ..row(key, "value")
    };
    source.fill([leased("/t1/b", long)]).await?;
    // One that has ended before it was used is none.
    while source
        .fill([leased("/t1/a", source.lease(3).await?)])
        .await
        .is_err_and(|error| error.to_string().contains("lease not found"))
    {}
    ensure!(!source.rows("/t1/").await?.is_empty());
    // As if the first lease had ended here already, and the second had been ended by somebody.
    let found = pair(&source, &target).await?.compare(&quiet()).await?;
    let told: Vec<_> = found.differences.iter().map(|at| &*at.key).collect();
    ensure!(told == ["b"], "{found:?}");
    Ok(())
}
