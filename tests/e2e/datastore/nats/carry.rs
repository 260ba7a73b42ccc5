use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::{Driver, NatsPair, Pair as _};

use super::{
    super::{carry::carry, quiet, sql::refusal},
    pair, stores,
    tenants::{changes, put},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_passes_through_a_file_with_its_sequences_and_times() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(2_000, 200, 300)).await?;
    source
        .write([put("/registry/pods/shop/large", "x")])
        .await?;
    source.write(changes(4, 4, 900_000)).await?;
    let both = pair(&source, &target)?;
    let end = carry(&both, Driver::Nats).await?;
    ensure!(end.revision == 2_005 && end.records > 2, "{end:?}");
    let (from, to) = (source.messages().await?, target.messages().await?);
    ensure!(from == to && from.len() > 1_000);
    ensure!(source.state().await? == target.state().await?);
    ensure!(both.compare(&quiet()).await?.different == 0);

    let (source, target) = (source.connection(), target.connection());
    let renamed = NatsPair::open(&source, &target, "t2")?;
    let error = refusal(
        renamed
            .dump(&tokio::sync::mpsc::channel(1).0, &quiet())
            .await,
    )?;
    ensure!(error.to_string().contains("it has no bucket t2"), "{error}");
    Ok(())
}
