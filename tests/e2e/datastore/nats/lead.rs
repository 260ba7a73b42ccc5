use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::Pair as _;

use super::{
    super::{
        kine::PROGRAMS,
        lead::{MARGIN, Place, begins_behind_the_source, leads},
        quiet,
        sql::refusal,
    },
    SCHEMA,
    kine::roomy,
    pair, stores,
    tenants::{changes, delete, put},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_target_begins_behind_all_that_the_source_gave() -> Result<()> {
    for program in PROGRAMS {
        let (source, target) = roomy().await?;
        let place = Place {
            source: source.arguments(SCHEMA).to_vec(),
            target: target.arguments(SCHEMA).to_vec(),
            pair: &pair(&source, &target)?,
            back: &pair(&target, &source)?,
        };
        Box::pin(begins_behind_the_source(program, &place)).await?;
    }
    Ok(())
}

/// Kamaji's history is 1, kine's own 10.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_has_nothing_to_bring_leaves_the_lead() -> Result<()> {
    for history in [1, 10] {
        let (source, target) = stores().await?;
        source.make(history).await?;
        source.write(changes(300, 20, 100)).await?;
        let pair = pair(&source, &target)?;
        let first = pair.copy(None, &quiet()).await?;
        let led = pair.lead(MARGIN).await?;
        ensure!(
            (led.source, led.before, led.now) == (300, 300, 1_300),
            "{led:?}"
        );
        let [_, last, messages] = target.state().await?;
        ensure!(last == 1_300 && messages == source.state().await?[2] + 1);
        for since in [Some(&first.position), None] {
            let copied = pair.copy(since, &quiet()).await?;
            ensure!(
                copied.position == first.position && !copied.anew,
                "{copied:?}"
            );
            ensure!((copied.written, copied.removed) == (0, 0), "{copied:?}");
        }
        ensure!(target.state().await?[1] == 1_300);
        let compared = pair.compare(&quiet()).await?;
        ensure!(
            compared.different == 0 && leads(&compared) == Some((1, 1)),
            "{compared:?}"
        );

        // No message comes to a sequence that was passed by: the bucket is made again.
        source.write([put("/registry/pods/shop/a", "1")]).await?;
        let later = pair.copy(Some(&first.position), &quiet()).await?;
        ensure!(later.anew && later.revision == 301, "{later:?}");
        ensure!(source.state().await? == target.state().await?);
        let led = pair.lead(MARGIN).await?;
        ensure!((led.before, led.now) == (301, 1_301), "{led:?}");
        pair.clear_target().await?;
        ensure!(target.bucket().await.is_err());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_that_was_given_up_is_gone_on_with() -> Result<()> {
    let (source, target) = stores().await?;
    let pair = pair(&source, &target)?;
    let error = refusal(pair.lead(MARGIN).await)?.to_string();
    ensure!(error == "datastore bronze: it has no bucket t1", "{error}");
    source.make(10).await?;
    source.write(changes(300, 20, 100)).await?;
    pair.copy(None, &quiet()).await?;
    // What fills the gap, and not its end.
    target.write((0..400).map(|_| delete("gap-filled"))).await?;
    let led = pair.lead(MARGIN).await?;
    ensure!((led.before, led.now) == (700, 1_300), "{led:?}");
    let left = target.messages().await?;
    let [.., before, last] = left.as_slice() else {
        anyhow::bail!("{left:?}")
    };
    ensure!(
        (before.sequence, last.sequence) == (300, 1_300),
        "{before:?} {last:?}"
    );
    // A shorter one is there already.
    let again = pair.lead(10).await?;
    ensure!((again.before, again.now) == (1_300, 1_300), "{again:?}");
    ensure!(target.messages().await? == left);
    Ok(())
}
