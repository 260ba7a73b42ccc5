//! A large file that is written to all the time, as that of a database: rounds send the blocks that changed alone.
use std::{collections::BTreeMap, fs::File, os::unix::fs::FileExt as _};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{
    small::{NAME, Small},
    support::end,
    workload::Client,
};

const BLOCK: u64 = 1 << 20;
/// The file's blocks, and how many of them are written to.
const BLOCKS: u64 = 96;
const WRITTEN: u64 = 8;

/// Each record overwrites the one that was there eight before it, and is on disk before it is acknowledged. At the
/// target the file is left as it is, so that both sides can be compared.
const SCRIPT: &str = r"
trap 'exit 0' TERM
case $NAMESPACE in *-new-*) ;; *)
  dd if=/dev/urandom of=/data/large bs=1M count=96 2>/dev/null
  touch /data/filled
  n=0
  while :; do
    n=$((n + 1))
    printf '%010d' $n | dd of=/data/large bs=1M seek=$((n % 8)) conv=notrunc 2>/dev/null
    sync /data/large
    echo $n
    usleep 20000
  done
esac
sleep 100000 & wait $!
";

/// The last record in each block that is written to.
fn records(file: &File) -> Result<BTreeMap<u64, u64>> {
    (0..WRITTEN)
        .map(|block| {
            let mut record = [0; 10];
            file.read_exact_at(&mut record, block * BLOCK)?;
            let text = std::str::from_utf8(&record)?;
            Ok((block, text.parse().with_context(|| text.to_owned())?))
        })
        .collect()
}

#[test]
fn a_large_file_under_a_writer_is_sent_by_its_blocks_with_every_acknowledged_record() -> Result<()>
{
    let small = Small::with("blocks", |_, workload| {
        let template = &mut workload["spec"]["template"]["spec"]["containers"][0];
        template["command"] = json!(["sh", "-ec", SCRIPT]);
        template["env"] = json!([
            {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        ]);
        let claim = &mut workload["spec"]["volumeClaimTemplates"][0];
        claim["spec"]["resources"]["requests"]["storage"] = json!("256Mi");
    })?;
    let client = Client::of(&small.source, "db-0")?;
    end(small.run()?)?.with_code(13)?;
    let acknowledged = client.acknowledged()?;
    small.is_moved()?;

    let large = File::open(small.target.folder("data-db-0")?.join("large"))?;
    for (block, last) in records(&large)? {
        // The last of those that were acknowledged and went to this block.
        let least = acknowledged - (acknowledged + WRITTEN - block) % WRITTEN;
        ensure!(
            last % WRITTEN == block && (least..acknowledged + 50).contains(&last),
            "block {block} holds record {last} and not {least}; {acknowledged} were acknowledged"
        );
    }
    let report = small.source.report(NAME)?;
    let sent = |step: &str| {
        let volume = &report["outputs"][step]["volumes"][0];
        volume["bytes_sent"].as_u64().context("no bytes_sent")
    };
    let rounds = report["outputs"]["warm-copy"]["volumes"][0]["rounds"]
        .as_u64()
        .context("no rounds")?;
    let (warm, last) = (sent("warm-copy")?, sent("final-copy")?);
    println!("{rounds} warm rounds sent {warm} bytes, the final one {last}");
    // The first sends all, each later one what was written since.
    let most = BLOCKS + rounds.saturating_sub(1) * WRITTEN;
    ensure!(warm >= BLOCKS * BLOCK && warm <= most * BLOCK, "{warm}");
    ensure!(last > 0 && last <= WRITTEN * BLOCK, "{last}");
    Ok(())
}
