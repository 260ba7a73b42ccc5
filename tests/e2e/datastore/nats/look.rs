use anyhow::{Context as _, Result, ensure};
use kubectl_migrate::adapters::datastore::{NatsPair, Pair as _};

use super::{
    super::{quiet, sql::finding},
    SCHEMA, Server, pair,
    server::LOOKER,
    stores,
    tenants::changes,
};

#[tokio::test(flavor = "multi_thread")]
async fn both_stores_are_seen_as_they_are() -> Result<()> {
    let (source, target) = stores().await?;
    let pair = pair(&source, &target)?;
    let look = pair.look().await?;
    let none = finding(&look, "bucket")?;
    ensure!(
        none.blocks && none.evidence == "datastore bronze has no bucket t1",
        "{none:?}"
    );

    source.make(10).await?;
    source.write(changes(300, 20, 100)).await?;
    let look = pair.look().await?;
    ensure!(look.findings.is_empty(), "{look:?}");
    ensure!(look.source.version.starts_with("2."), "{look:?}");
    ensure!(
        (look.source.revision, look.source.keys) == (300, 200),
        "{look:?}"
    );
    ensure!(look.source.bytes > 200 * 100, "{look:?}");
    ensure!(
        (look.target.revision, look.target.keys, look.target.bytes) == (0, 0, 0),
        "{look:?}"
    );
    pair.copy(None, &quiet()).await?;
    let after = pair.look().await?;
    ensure!(after.findings.is_empty(), "{after:?}");
    ensure!(after.target == look.source, "{after:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_cannot_take_it_is_found() -> Result<()> {
    let source = Server::with("bronze", "jetstream { store_dir: STORE }\nmax_payload: 2MB").await?;
    source.make(10).await?;
    source.write(changes(2, 2, 1_500_000)).await?;

    let without = Server::with("silver", "").await?;
    let look = pair(&source, &without)?.look().await?;
    let none = finding(&look, "JetStream")?;
    ensure!(
        none.blocks && none.evidence.contains("datastore silver"),
        "{none:?}"
    );
    let error = pair(&source, &without)?.copy(None, &quiet()).await;
    let error = error.err().context("it was copied")?.to_string();
    ensure!(
        error.starts_with("datastore silver: it has no JetStream"),
        "{error}"
    );

    let small = Server::start("silver").await?;
    let look = pair(&source, &small)?.look().await?;
    let size = finding(&look, "message size")?;
    ensure!(size.blocks, "{size:?}");
    ensure!(
        size.evidence
            .contains("takes messages of 1048576 bytes, datastore bronze of 2097152"),
        "{size:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_may_only_look_is_found() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(300, 20, 100)).await?;
    let looker = |server: &Server| {
        let mut connection = server.connection();
        if let Some(basic) = &mut connection.basic {
            LOOKER.clone_into(&mut basic.user);
        }
        connection
    };
    let pair = NatsPair::open(&looker(&source), &looker(&target), SCHEMA)?;
    let look = pair.look().await?;
    let told: Vec<_> = look
        .findings
        .iter()
        .map(|finding| (&*finding.check, finding.blocks))
        .collect();
    ensure!(told == [("rights", true), ("rights", true)], "{look:?}");
    let text = look.findings[1].evidence.to_lowercase();
    ensure!(
        text.contains("datastore silver")
            && text.contains("permissions violation")
            && text.contains("stream.restore"),
        "{text}"
    );
    let error = pair.copy(None, &quiet()).await;
    let error = error.err().context("it was copied")?.to_string();
    ensure!(
        error.starts_with("datastore bronze refuses us: ") && error.contains("STREAM.SNAPSHOT"),
        "{error}"
    );
    Ok(())
}
