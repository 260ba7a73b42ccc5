//! A schema by way of a file.
use anyhow::{Context as _, Result, ensure};
use kubectl_migrate::adapters::datastore::{
    Driver, Pair,
    archive::{self, End, FORMAT, FileSink, Head, Piece, Reader},
};
use tokio::{sync::mpsc::channel, task::spawn_blocking};

use super::quiet;

/// More than any test's records: nobody takes them meanwhile.
const ROOM: usize = 100_000;

/// Takes the source's schema into a file, and brings it from there into the target.
pub async fn carry(pair: &impl Pair, driver: Driver) -> Result<End> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("snapshot");
    let head = Head {
        kubectl_migrate_tenant_snapshot: FORMAT,
        written_by: "a test".to_owned(),
        taken: "now".to_owned(),
        tenant: "tenants/t1".to_owned(),
        kubernetes: "v1.36.0".to_owned(),
        data_store: "bronze".to_owned(),
        driver,
        server: "1".to_owned(),
        schema: "t1".to_owned(),
        layout: pair.layout().await?,
    };
    let (sender, pieces) = channel(ROOM);
    let revision = pair.dump(&sender, &quiet()).await?;
    sender.send(Piece::End(revision)).await.ok();
    let writing = {
        let (path, head) = (path.clone(), head.clone());
        spawn_blocking(move || {
            let file = archive::create(&path)?;
            archive::write(FileSink::new(&file, &path)?, "the file", &head, pieces)
        })
    };
    let end = writing.await??.context("no end")?;
    let read = || Reader::new("the file".to_owned(), archive::open(&path)?);
    ensure!(archive::check(read()?)? == (head, end.clone()));

    let mut reader = read()?;
    let (sender, mut records) = channel(ROOM);
    while let Some(record) = reader.read()? {
        sender.send(record).await?;
    }
    drop(sender);
    let layout = reader.head.layout;
    pair.load(&layout, &mut records, &quiet()).await?;
    Ok(end)
}
