//! Other tenants come and go on the same stores: each is a change of etcd's users.
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Result, ensure};
use etcd_client::{Client, UserAddOptions};
use kubectl_migrate::adapters::datastore::Pair as _;
use tokio::time::{Instant, sleep};

use super::{Server, keys, pair, quiet, stores};

/// Far more often than tenants are made, and seldom enough that requests come between.
const EACH: Duration = Duration::from_millis(150);

/// Makes and removes users until told to end; how many.
async fn come_and_go(client: &Client, over: &AtomicBool) -> Result<u64> {
    let mut users = client.auth_client();
    let mut made = 0;
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let options = UserAddOptions::new().with_no_pwd();
        users.user_add("neighbour", "", Some(options)).await?;
        users.user_delete("neighbour").await?;
        made += 1;
        // On a slow machine, what comes between takes longer, too.
        sleep(EACH.max(3 * begun.elapsed())).await;
    }
    Ok(made)
}

/// What a switch does to its stores, in its order.
async fn whole(source: &Server, target: &Server) -> Result<()> {
    let pair = pair(source, target).await?;
    let copied = pair.copy(None, &quiet()).await?;
    let raised = pair.lead(5_000).await?;
    ensure!(raised.now >= raised.source + 5_000, "{raised:?}");
    let copied = pair.copy(Some(&copied.position), &quiet()).await?;
    ensure!(!copied.anew, "{copied:?}");
    let compared = pair.compare(&quiet()).await?;
    ensure!(compared.different == 0, "{compared:?}");
    pair.clear_target().await?;
    pair.clear_user("t1").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_change_of_users_overtakes_is_sent_again() -> Result<()> {
    let (source, target) = stores().await?;
    source.fill(keys(20_000, 100)).await?;
    let clients = [source.client().await?, target.client().await?];
    let over = AtomicBool::new(false);
    let switched = async {
        let switched = Box::pin(whole(&source, &target)).await;
        over.store(true, Ordering::Relaxed);
        switched
    };
    let (switched, at_source, at_target) = tokio::join!(
        switched,
        come_and_go(&clients[0], &over),
        come_and_go(&clients[1], &over)
    );
    switched?;
    let made = [at_source?, at_target?];
    println!("users made meanwhile: {made:?}");
    ensure!(made.iter().all(|made| *made > 0), "{made:?}");
    ensure!(target.rows("/t1/").await?.is_empty());
    Ok(())
}
