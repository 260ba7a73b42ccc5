//! The way without movers: volumes are told and filled as tars, by commands in pods.
//!
//! Where no program of ours can run next to a volume, its own image's `sh`, `tar` and `sha256sum` have to do: in a
//! container of the workload, where that sleeps with its volumes, else in a pod that waits with a shell alone
//! ([`HOLD`]). The source's tar comes to this client ([`READ`]), is read strictly here, made anew for the `tar` of the
//! other side, and poured there piece by piece ([`FILL`], [`POUR`]). That a command ended well is never believed: a stream counts
//! when its length and its digest are those that the image's own tools told of it, and a piece when its digest was told
//! there before it was unpacked. What was cut off goes on at its byte.
//!
//! Nothing of this tells two files apart but reading both. So every round moves everything, and the verification reads
//! a tar of both sides and compares them entry by entry, with the digests that a mover would give.
mod complaints;
mod fill;
mod place;
mod shells;
mod told;

use std::{fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use super::put::{hexadecimal, may_pass, script, whole};
use crate::adapters::kube::{KubeError, Said};

pub(super) use fill::Target;
pub(super) use shells::Shells;

/// What a pod does that waits for commands.
const HOLD: &str = include_str!("hold.sh");
/// What has a volume told.
const READ: &str = include_str!("read.sh");
/// What the next two begin with.
const FENCE: &str = include_str!("fence.sh");
/// What has one emptied, and a tar wait for what comes.
const FILL: &str = include_str!("fill.sh");
/// What brings it.
const POUR: &str = include_str!("pour.sh");
/// What a waiting pod keeps, while it is filled.
const FOLDER: &str = "/session";
/// Two pieces, and what is said of them.
const ROOM: &str = "256Mi";
/// A stream or an answer may be lost so often in a row, with nothing new of it.
const LOSSES: u32 = 6;
/// Between a loss and the next try.
const PAUSE: Duration = Duration::from_secs(1);
/// More than any answer.
const ANSWER: usize = 2 << 20;
/// A stream of which nothing comes for so long hangs, whatever else is heard: tar may read long what it finds to be a hole.
const STILL: Duration = Duration::from_hours(2);
/// What is slower than this reads nothing again to go on where it was.
const SLOWEST: u64 = 8 << 20;
/// So many lines of what a stranger complains of are shown.
const SHOWN: usize = 10;

/// Runs a command with its input; it may say so many bytes.
type Run = dyn Fn(Vec<String>, Vec<u8>, usize) -> BoxFuture<'static, Result<Said, KubeError>>
    + Send
    + Sync;
/// Runs a command and gives away what it says; its complaint is the answer.
type Listen = dyn Fn(Vec<String>, Sender<Vec<u8>>) -> BoxFuture<'static, Result<String, KubeError>>
    + Send
    + Sync;

/// A container in which commands can be run, next to a volume.
#[derive(Clone)]
struct Shell {
    /// What it is called in messages.
    object: String,
    /// Its image, by digest; empty where its node does not tell.
    image: String,
    /// Where it has the volume.
    root: String,
    /// Where a pod that waits hears that somebody is there; none in a pod of somebody else.
    folder: Option<String>,
    /// Between a loss and the next try.
    pause: Duration,
    /// So long nothing may come of a stream; a deed may take three times as long.
    still: Duration,
    run: Arc<Run>,
    listen: Arc<Listen>,
}

impl fmt::Debug for Shell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.object)
    }
}

impl Shell {
    /// A command that runs one of the scripts. It goes within the line of a request, which not every proxy lets be as
    /// long as a script is that people can read.
    fn command(text: &str, name: &str, words: &[&str]) -> Vec<String> {
        let text = script(text);
        let lines: Vec<_> = text.lines().map(str::trim_start).collect();
        let text = lines.join("\n");
        let begin = ["sh", "-c", &text, name];
        let all = begin.iter().chain(words);
        all.map(|word| (*word).to_owned()).collect()
    }
}

/// Changes a mover's container and the volumes of its pod so that it waits for commands, and has nothing else.
pub(super) fn holds(container: &mut Value, volumes: &mut Value, patience: u32) {
    container["command"] = json!([
        "sh",
        "-c",
        script(HOLD),
        "hold",
        FOLDER,
        patience.to_string()
    ]);
    if let Some(container) = container.as_object_mut() {
        for field in ["args", "ports", "readinessProbe"] {
            container.remove(field);
        }
    }
    let not_keys = |named: &Value| named["name"] != "keys";
    if let Some(mounts) = container["volumeMounts"].as_array_mut() {
        mounts.retain(not_keys);
        mounts.push(json!({"name": "session", "mountPath": FOLDER}));
    }
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.retain(not_keys);
        volumes.push(json!({"name": "session", "emptyDir": {"sizeLimit": ROOM}}));
    }
}

/// What an image lacks, for people.
fn lacked(word: &str) -> String {
    match word {
        "root" => "the rights of root, without which its `tar` sets no modes".to_owned(),
        "known-tar" => "a `tar` that is GNU's or busybox's".to_owned(),
        program => format!("`{program}`"),
    }
}

/// The first lines of what was complained of, but for those that say nothing.
fn shown(complaints: &[String]) -> Vec<String> {
    let all = complaints.iter().map(|line| {
        let shown = line.chars().filter(|letter| !letter.is_control());
        shown.take(300).collect::<String>()
    });
    all.filter(|line| !line.is_empty()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests;
