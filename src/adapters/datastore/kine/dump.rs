//! Rows out of a table, and into one.
use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender};

use super::{Readable, Row, Rows, Selection, Table, copy::count, writers::Writers};
use crate::adapters::datastore::{
    DatastoreError, Meter, Reading,
    archive::{Piece, Record},
};

/// Sends all rows as they are at one moment; the largest id.
pub(in super::super) async fn dump<T: Readable>(
    source: &T,
    out: &Sender<Piece>,
    meter: &Meter,
) -> Result<u64, DatastoreError> {
    let mut reading = Reading {
        of: source.estimate().await?,
        ..Reading::default()
    };
    let mut rows = Rows::read(source, Selection::All);
    let mut last = 0;
    while let Some(row) = rows.next().await? {
        count(&mut reading, row.bytes().len(), meter);
        last = row.id.unsigned_abs();
        let fields = row.fields();
        let record = Record {
            number: last,
            key: row.name().to_vec(),
            fields: fields
                .map(|field| field.map(Bytes::copy_from_slice))
                .collect(),
            lease: None,
        };
        // Who writes says by itself why it takes no more.
        if out.send(Piece::Record(record)).await.is_err() {
            break;
        }
    }
    meter.show(reading);
    Ok(last)
}

/// Puts rows into a table; how many.
pub(in super::super) async fn load<T: Table>(
    target: &T,
    records: &mut Receiver<Record>,
    meter: &Meter,
) -> Result<u64, DatastoreError> {
    let mut reading = Reading::default();
    let mut writers = Writers::start(target);
    while let Some(record) = records.recv().await {
        let fields = record.fields.iter();
        let row = i64::try_from(record.number).ok().and_then(|id| {
            let fields = fields.map(|field| field.as_ref().map(AsRef::as_ref));
            Row::of(id, record.fields.len(), fields)
        });
        let row = row.ok_or_else(|| DatastoreError::Unexpected {
            store: target.store().to_owned(),
            what: format!("record {} is no row of kine's table", record.number),
        })?;
        count(&mut reading, row.bytes().len(), meter);
        writers.put(row).await?;
    }
    let written = writers.finish().await?;
    meter.show(reading);
    Ok(written.rows)
}
