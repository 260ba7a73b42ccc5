//! Comparisons: what counts, what a working API server may change, and what compaction explains.
use anyhow::{Context as _, Result, ensure};
use kubectl_migrate::adapters::datastore::{Comparison, Pair as _};

use super::{
    super::{differences, quiet},
    Servers, Sql, Tenant, ignored,
};

/// Two equal tables of a schema.
async fn equal<S: Sql>(servers: &Servers<S>, schema: &str) -> Result<Comparison> {
    let mut tenant = Tenant::new(1);
    let begin = tenant.begin();
    servers.source.make(schema).await?;
    servers.source.write(schema, &[begin]).await?;
    servers.source.write(schema, &tenant.changes(800)).await?;
    let pair = servers.pair(schema)?;
    pair.copy(None, &quiet()).await?;
    let comparison = pair.compare(&quiet()).await?;
    ensure!(comparison.different == 0, "{:?}", comparison.differences);
    Ok(comparison)
}

/// Changes the target, compares, and says what is found.
async fn found<S: Sql>(servers: &Servers<S>, schema: &str, change: &str) -> Result<Vec<String>> {
    servers.target.run(schema, change).await?;
    let comparison = servers.pair(schema)?.compare(&quiet()).await?;
    let told = differences(&comparison);
    ensure!(comparison.different == told.len() as u64, "{comparison:?}");
    Ok(told)
}

/// The name of the row that a condition picks.
async fn name<S: Sql>(servers: &Servers<S>, schema: &str, condition: &str) -> Result<String> {
    let sql = format!("SELECT name FROM kine WHERE {condition} LIMIT 1");
    servers
        .source
        .ask(schema, &sql)
        .await?
        .context("no such row")
}

pub async fn each_difference_is_found_and_named<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "differences");
    let before = equal(&servers, schema).await?;
    // The first row of a kind that counts.
    let first = |what: &str| {
        format!("id = (SELECT min(id) FROM kine WHERE name LIKE '/registry/pods/%' AND {what})")
    };
    let flipped = format!("value = {}", S::FLIPPED);
    for (change, row, how) in [
        (flipped.as_str(), first("deleted = 0"), "other value"),
        (
            "old_value = NULL",
            first("old_value IS NOT NULL"),
            "other value",
        ),
        ("old_value = ''", first("old_value IS NULL"), "other value"),
        ("lease = 7", first("deleted = 0"), "other value"),
        (
            "create_revision = create_revision + 1",
            first("created = 0"),
            "other value",
        ),
        ("deleted = 0", first("deleted = 1"), "other value"),
    ] {
        let key = name(&servers, schema, &row).await?;
        let told = found(
            &servers,
            schema,
            &format!("UPDATE kine SET {change} WHERE {row}"),
        )
        .await?;
        ensure!(told == [format!("{key}: {how}")], "{change}: {told:?}");
        let copied = servers.pair(schema)?.copy(None, &quiet()).await?;
        ensure!(
            (copied.written, copied.removed) == (1, 0),
            "{change}: {copied:?}"
        );
    }
    let row = first("deleted = 1");
    let key = name(&servers, schema, &row).await?;
    let told = found(&servers, schema, &format!("DELETE FROM kine WHERE {row}")).await?;
    ensure!(
        told == [format!("{key}: missing at the target")],
        "{told:?}"
    );
    let extra = "INSERT INTO kine (id, name, created, deleted, prev_revision, value) VALUES
        (900000, '/registry/pods/shop/extra', 1, 0, 0, 'x')";
    let told = found(&servers, schema, extra).await?;
    let extra = "/registry/pods/shop/extra: only at the target".to_owned();
    ensure!(
        told == [format!("{key}: missing at the target"), extra],
        "{told:?}"
    );
    let pair = servers.pair(schema)?;
    pair.copy(None, &quiet()).await?;
    let after = pair.compare(&quiet()).await?;
    ensure!(after == before, "{after:?} {before:?}");
    Ok(())
}

pub async fn what_a_server_writes_by_itself_is_counted_apart<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "classes");
    let before = equal(&servers, schema).await?;
    let (_, leases) = ignored(&before, "node leases").context("no node leases")?;
    ensure!(
        ignored(&before, "events").is_some_and(|(different, keys)| different == 0 && keys > 10)
    );
    ensure!(
        ignored(&before, "kine's compaction") == Some((0, 1)),
        "{before:?}"
    );
    let insert = |id: u32, name: &str| {
        format!(
            "INSERT INTO kine (id, name, prev_revision, deleted, value) VALUES ({id}, '{name}', {id}, 0, 'x');"
        )
    };
    let more = [
        insert(90_001, "/registry/leases/kube-node-lease/node-new"),
        insert(90_002, "/registry/masterleases/10.0.0.9"),
        insert(90_003, "gap-90003"),
        insert(
            90_004,
            "/registry/validatingwebhookconfigurations/kamaji-freeze",
        ),
        insert(90_005, "/registry/ranges/serviceips"),
        "UPDATE kine SET prev_revision = 12 WHERE name = 'compact_rev_key'".to_owned(),
    ];
    servers.source.run(schema, &more.concat()).await?;
    let pair = servers.pair(schema)?;
    let after = pair.compare(&quiet()).await?;
    ensure!(
        (after.different, after.keys, &after.digest) == (0, before.keys, &before.digest),
        "{after:?}"
    );
    ensure!(
        ignored(&after, "node leases") == Some((1, leases + 1)),
        "{after:?}"
    );
    ensure!(
        ignored(&after, "Kamaji's freeze") == Some((1, 1)),
        "{after:?}"
    );
    ensure!(
        ignored(&after, "kine's compaction") == Some((1, 1)),
        "{after:?}"
    );
    // Above the target's largest row, but of no such class.
    servers
        .source
        .run(schema, &insert(90_006, "/registry/pods/shop/late"))
        .await?;
    let after = pair.compare(&quiet()).await?;
    ensure!(
        differences(&after) == ["/registry/pods/shop/late: missing at the target"],
        "{after:?}"
    );
    Ok(())
}

pub async fn a_compaction_since_the_copy_explains_only_what_it_removes<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "compacted");
    equal(&servers, schema).await?;
    let removed = servers.source.compact(schema, 500).await?;
    let pair = servers.pair(schema)?;
    let comparison = pair.compare(&quiet()).await?;
    ensure!(comparison.different == 0, "{:?}", comparison.differences);
    let (compacted, _) =
        ignored(&comparison, "compacted at the source").context("nothing compacted")?;
    // Rows of the classes that are left out anyway are counted there.
    ensure!(
        compacted > 20 && compacted < removed,
        "{compacted} of {removed}"
    );
    let standing = "id = (SELECT max(id) FROM kine WHERE id <= 500 AND deleted = 0 AND name LIKE '/registry/pods/%')";
    let key = name(&servers, schema, standing).await?;
    servers
        .source
        .run(schema, &format!("DELETE FROM kine WHERE {standing}"))
        .await?;
    let told = differences(&pair.compare(&quiet()).await?);
    ensure!(told == [format!("{key}: only at the target")], "{told:?}");
    Ok(())
}
