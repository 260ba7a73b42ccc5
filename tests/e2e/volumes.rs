//! Volumes that are no ordinary folder: raw block devices, and one that runs full.
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Result, ensure};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    processes::{self, Held},
    proxy::{Fate, Proxy},
    support::{CLUSTER, Namespace, On, Running, end, mover_image, output_of, wait_for},
    tree, workload,
};

/// For which a mover runs before it stands still again.
const MOMENT: Duration = Duration::from_millis(20);

/// A volume that was prepared for one claim; what it takes of this machine is given back at the end.
pub struct Prepared {
    on: On,
    namespace: String,
    /// The number of its node in the cluster.
    node: u8,
    /// `tmpfs-volume` or `block-volume`.
    verb: &'static str,
    claim: &'static str,
}

impl Prepared {
    pub fn new(
        namespace: &Namespace,
        verb: &'static str,
        claim: &'static str,
        size: &str,
    ) -> Result<Self> {
        Self::on_node(1, namespace, verb, claim, size)
    }

    /// On one of the nodes of a cluster that has several.
    pub fn on_node(
        node: u8,
        namespace: &Namespace,
        verb: &'static str,
        claim: &'static str,
        size: &str,
    ) -> Result<Self> {
        let this = Self {
            on: namespace.on,
            namespace: namespace.name.clone(),
            node,
            verb,
            claim,
        };
        this.resize(size)?;
        Ok(this)
    }

    /// Makes it larger or smaller, also while it is used.
    pub fn resize(&self, size: &str) -> Result<()> {
        let claim = format!("{}/{}", self.namespace, self.claim);
        let place = format!("{}-{}", self.on.letter(), self.node);
        output_of(Command::new(CLUSTER).args([self.verb, &claim, size, &place]))?;
        Ok(())
    }

    fn name(&self) -> String {
        format!("{}-{}", self.namespace, self.claim)
    }

    fn kubectl(&self, args: &[&str]) -> Result<String> {
        let kubeconfig = self.on.kubeconfig()?;
        let place = ["--kubeconfig", &kubeconfig, "-n", &self.namespace];
        output_of(Command::new("kubectl").args(place).args(args))
    }

    /// Its folder or its device.
    pub fn path(&self) -> Result<PathBuf> {
        let path = "jsonpath={.spec.local.path}";
        Ok(self
            .kubectl(&["get", "pv", &self.name(), "-o", path])?
            .into())
    }

    fn give_back(&self) -> Result<()> {
        let path = self.path()?;
        let name = self.name();
        for object in [["pvc", self.claim], ["pv", &name]] {
            let delete = [
                "delete",
                object[0],
                object[1],
                "--ignore-not-found",
                "--wait=false",
            ];
            self.kubectl(&delete)?;
        }
        if self.verb == "tmpfs-volume" {
            output_of(Command::new("umount").arg("-l").arg(&path))?;
            return Ok(fs::remove_dir(&path)?);
        }
        let image = ["-nO", "BACK-FILE"];
        let image = output_of(Command::new("losetup").args(image).arg(&path))?;
        output_of(Command::new("losetup").arg("-d").arg(&path))?;
        Ok(fs::remove_file(image.trim())?)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.give_back().ok();
    }
}

pub fn block_claim(name: &str, size: &str) -> Value {
    let mut claim = workload::claim(name, size);
    claim["spec"]["volumeMode"] = json!("Block");
    claim["spec"]["storageClassName"] = json!("prepared");
    claim
}

fn same_bytes(source: &Path, target: &Path) -> Result<()> {
    output_of(Command::new("cmp").arg(source).arg(target))?;
    Ok(())
}

#[test]
fn a_block_device_is_copied_as_it_is_and_a_smaller_one_is_refused() -> Result<()> {
    let namespace = Namespace::new(On::A, "data-block", &[])?;
    let from = Prepared::new(&namespace, "block-volume", "from", "32Mi")?;
    let to = Prepared::new(&namespace, "block-volume", "to", "48Mi")?;
    let small = Prepared::new(&namespace, "block-volume", "small", "16Mi")?;
    namespace.apply(&[
        block_claim("from", "32Mi"),
        block_claim("to", "32Mi"),
        block_claim("small", "16Mi"),
    ])?;
    let device = namespace.folder("from")?;
    ensure!(device == from.path()?);
    tree::noise(&device, 32 << 20)?;
    let image = mover_image()?;
    let copy = |target: &str| {
        let words = ["copy", "pvc/from", target, "--yes", "--mover-image", &image];
        end(namespace.migrate(&words)?)
    };
    copy("pvc/to")?.with_code(0)?;
    let start = tempfile::NamedTempFile::new()?;
    let length = ["bs=1M", "count=32", "status=none"];
    output_of(
        Command::new("dd")
            .arg(format!("if={}", to.path()?.display()))
            .arg(format!("of={}", start.path().display()))
            .args(length),
    )?;
    same_bytes(&device, start.path())?;
    // What is on it now may be somebody's: it has no room for a mark of ours.
    let undo = ["rollback", "copy-from-to", "--yes"];
    end(namespace.migrate(&undo)?)?
        .with_code(0)?
        .says(&["the data on persistentvolumeclaim", "stays"])?;
    output_of(
        Command::new("cmp")
            .arg("-n")
            .arg("33554432")
            .args([&device, &to.path()?]),
    )?;
    copy("pvc/small")?
        .with_code(10)?
        .says(&["33554432", "16777216"])?;
    ensure!(fs::read(small.path()?)?.iter().all(|byte| *byte == 0));
    end(namespace.migrate(&["rollback", "copy-from-small"])?)?.with_code(0)?;
    namespace.get("pvc/small")?;
    let left = namespace.kubectl(&["get", "jobs,secrets", "-o", "name"])?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}

/// Copies a device, and lets go of it half written: `lose` is given the run and the client, and what stands still
/// until then.
fn half_written(
    name: &str,
    lose: impl FnOnce(&Namespace, &str, Running, [Held; 2]) -> Result<()>,
) -> Result<()> {
    let namespace = Namespace::new(On::A, name, &[])?;
    let from = Prepared::new(&namespace, "block-volume", "from", "256Mi")?;
    let to = Prepared::new(&namespace, "block-volume", "to", "256Mi")?;
    namespace.apply(&[block_claim("from", "256Mi"), block_claim("to", "256Mi")])?;
    for claim in ["from", "to"] {
        namespace.folder(claim)?;
    }
    tree::noise(&from.path()?, 256 << 20)?;
    let image = mover_image()?;
    let words = [
        "copy",
        "pvc/from",
        "pvc/to",
        "--yes",
        "--mover-image",
        &image,
    ];
    // The client reaches no mover before both stand still.
    let (gate, opens) = watch::channel(false);
    let proxy = Proxy::new(On::A, move |seen| {
        if seen.target.contains("/portforward") {
            Fate::Hold(opens.clone())
        } else {
            Fate::Pass
        }
    })?;
    let mut client = proxy.start(namespace.migrate(&words)?)?;
    client.until("warm-copy: started")?;
    let run = processes::run_of(&namespace, "copy-from-to")?;
    let mover = |side| {
        wait_for(&format!("the mover of the {side}"), || {
            Ok(processes::movers(&run, side)?.into_iter().next())
        })
    };
    let (source, target) = (mover("source")?, mover("target")?);
    // Only one of them runs at a time: however long that takes on a busy machine, no more passes than what fits
    // between the two.
    let (sends, writes) = (Held::new(&[source]), Held::new(&[target]));
    gate.send_replace(true);
    wait_for("the first bytes", || {
        sends.let_run(MOMENT);
        writes.let_run(MOMENT);
        let mut start = [0; 4096];
        fs::File::open(to.path()?)?.read_exact(&mut start)?;
        Ok(start.iter().any(|byte| *byte != 0).then_some(()))
    })?;
    ensure!(
        fs::read(from.path()?)? != fs::read(to.path()?)?,
        "it was over too soon"
    );
    lose(&namespace, &run, client, [sends, writes])?;
    same_bytes(&from.path()?, &to.path()?)
}

#[test]
fn a_block_device_that_was_half_written_is_written_on() -> Result<()> {
    half_written("data-half", |namespace, _, client, held| {
        client.kill()?;
        drop(held);
        end(namespace.migrate(&["run", "copy-from-to"])?)?.with_code(0)?;
        Ok(())
    })
}

#[test]
fn a_block_device_whose_mover_was_lost_in_its_first_round_is_written_on() -> Result<()> {
    half_written("data-half-lost", |_, run, client, held| {
        for mover in processes::movers(run, "target")? {
            kill_process(mover, Signal::KILL)?;
        }
        drop(held);
        client
            .end()?
            .with_code(0)?
            .says(&["going on with what is there"])?;
        Ok(())
    })
}

#[test]
fn a_full_target_is_said_and_the_copy_goes_on_when_it_is_larger() -> Result<()> {
    const FILES: usize = 8000;
    let namespace = Namespace::new(On::A, "data-full", &[])?;
    namespace.apply(&[workload::claim("from", "20Mi")])?;
    let from = namespace.folder("from")?;
    // Less than the target's size in bytes, and more in blocks: only writing tells.
    for number in 0..FILES {
        fs::write(from.join(format!("{number}")), format!("row {number}"))?;
    }
    let to = Prepared::new(&namespace, "tmpfs-volume", "to", "20Mi")?;
    let image = mover_image()?;
    let class = ["--storage-class", "prepared", "--mover-image", &image];
    let words = [&["copy", "pvc/from", "pvc/to", "--yes"], &class[..]].concat();
    let full = "no space is left on the target at ";
    end(namespace.migrate(&words)?)?.with_code(1)?.says(&[
        full,
        "enlarge the volume",
        "run copy-from-to",
    ])?;
    to.resize("64Mi")?;
    end(namespace.migrate(&["run", "copy-from-to"])?)?.with_code(0)?;
    let report = namespace.report("copy-from-to")?;
    let sent = &report["outputs"]["warm-copy"]["volumes"][0]["files_sent"];
    let sent = sent.as_u64().unwrap_or(0);
    ensure!(
        sent > 0 && sent < u64::try_from(FILES)?,
        "{sent} of {FILES} files were sent in the end"
    );
    tree::assert_equal(&from, &to.path()?, 0)
}
