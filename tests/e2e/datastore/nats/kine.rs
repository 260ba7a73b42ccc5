//! Real kine before the stores: what it wrote at the source it reads at the target, and goes on.
use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::Pair as _;

use super::{
    super::{
        kine::{Kine, PROGRAMS, live},
        quiet,
        sql::ignored,
    },
    SCHEMA, Server, pair, stores,
};
use crate::support::BOUND;

/// Both with room for large values.
pub async fn roomy() -> Result<(Server, Server)> {
    let settings = "jetstream { store_dir: STORE }\nmax_payload: 8MB";
    let (bronze, silver) = tokio::join!(
        Server::with("bronze", settings),
        Server::with("silver", settings)
    );
    Ok((bronze?, silver?))
}

#[tokio::test(flavor = "multi_thread")]
async fn kine_reads_the_same_revisions_at_the_target_and_goes_on() -> Result<()> {
    for program in PROGRAMS {
        let (source, target) = roomy().await?;
        let at_source = Kine::start(program, &source.arguments(SCHEMA), 0).await?;
        let count = live(&at_source).await? + 1;
        let odd = "/registry/configmaps/shop/\u{e4} .*>$\\\"%'\u{1f4a9}";
        at_source
            .create(odd.as_bytes(), b"\0\xff\xfe value", 0)
            .await?;
        let pair = pair(&source, &target)?;
        let warm = pair.copy(None, &quiet()).await?;
        // The tenant has gone on; one key goes through more changes than are kept.
        let mut at = at_source
            .create(b"/registry/pods/shop/late", b"0", 0)
            .await?;
        for turn in 1..25 {
            let value = format!("{turn}");
            at = at_source
                .update(b"/registry/pods/shop/late", value.as_bytes(), at)
                .await?;
        }
        let last = pair.copy(Some(&warm.position), &quiet()).await?;
        ensure!(!last.anew && last.read > 0, "{program}: {last:?}");
        ensure!(last.revision == at.unsigned_abs(), "{program}: {last:?}");
        let compared = pair.compare(&quiet()).await?;
        ensure!(compared.different == 0, "{program}: {compared:?}");
        ensure!(
            ignored(&compared, "events") == Some((0, 1)),
            "{program}: {compared:?}"
        );
        ensure!(source.state().await? == target.state().await?);
        let expected = at_source.keys().await?;
        ensure!(expected.len() == count + 1, "{program}: {}", expected.len());
        let from = expected[expected.len() / 2].changed;
        let told = at_source.changes(from, b"/registry/pods/shop/late").await?;
        drop(at_source);

        let at_target = Kine::start(program, &target.arguments(SCHEMA), count + 1).await?;
        ensure!(at_target.keys().await? == expected, "{program}: other keys");
        let again = at_target.changes(from, b"/registry/pods/shop/late").await?;
        ensure!(again == told, "{program}: {again:?} is not {told:?}");
        // Newer versions write of their own at the start.
        let before = target.state().await?[1];
        let new = at_target.create(b"/registry/pods/shop/new", b"new", 0);
        let (new, told) = tokio::join!(new, at_target.changes(at + 1, b"/registry/pods/shop/new"));
        let (new, told) = (new?, told?);
        ensure!(new.unsigned_abs() == before + 1, "{program}: {new}");
        let [(true, told)] = told.as_slice() else {
            anyhow::bail!("{program}: {told:?}")
        };
        ensure!(told.changed == new, "{program}: {told:?}");
        let web = &expected[expected.len() - 2];
        at_target.update(&web.key, b"goes on", web.changed).await?;
    }
    Ok(())
}

/// Kamaji's own migration makes values anew; kine counts a lease from there.
#[tokio::test(flavor = "multi_thread")]
async fn ttl_restarts_not_because_times_pass_with_the_bucket() -> Result<()> {
    let (source, target) = stores().await?;
    let kine = Kine::start("kine-0.11", &source.arguments(SCHEMA), 0).await?;
    kine.create(b"/registry/events/shop/web.1", b"short", 1)
        .await?;
    let ended = async {
        // It reads what it wrote a moment later.
        while kine.keys().await?.is_empty() {
            tokio::task::yield_now().await;
        }
        while !kine.keys().await?.is_empty() {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(BOUND, ended).await??;
    drop(kine);
    let pair = pair(&source, &target)?;
    pair.copy(None, &quiet()).await?;
    ensure!(source.messages().await? == target.messages().await?);
    let kine = Kine::start("kine-0.11", &target.arguments(SCHEMA), 0).await?;
    kine.create(b"/registry/pods/shop/a", b"1", 0).await?;
    let seen = async {
        loop {
            let keys = kine.keys().await?;
            if !keys.is_empty() {
                return anyhow::Ok(keys);
            }
        }
    };
    let keys = tokio::time::timeout(BOUND, seen).await??;
    ensure!(
        keys.len() == 1 && keys[0].key == b"/registry/pods/shop/a",
        "an event came to life: {keys:?}"
    );
    Ok(())
}
