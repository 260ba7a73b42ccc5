//! What copying and verifying steps leave per volume, read from their outputs as far as it is there.
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::Limited;

/// What a copying step did on a volume.
#[derive(Clone, Debug, PartialEq)]
pub struct CopiedVolume {
    /// The step.
    pub step: String,
    /// The source's claim.
    pub source: String,
    /// The target's claim.
    pub target: String,
    /// How often the volume was gone through.
    pub rounds: u64,
    /// Files that there are.
    pub files: u64,
    /// Bytes that there are.
    pub bytes: u64,
    /// Files that were sent.
    pub files_sent: u64,
    /// Bytes that were sent.
    pub bytes_sent: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// How the bytes went: `direct` from mover to mover, by the `client`, through the `bucket`, or with no mover by `exec`;
    /// empty where that is not known.
    pub way: String,
    /// Why by no way before it.
    pub because: Vec<String>,
    /// What it waited for most; none where that is not known.
    pub limited: Option<Limited>,
}

/// What the verification compared on a volume.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedVolume {
    /// The step.
    pub step: String,
    /// The source's claim.
    pub source: String,
    /// The target's claim.
    pub target: String,
    /// Files that were compared.
    pub files: u64,
    /// Bytes that were compared.
    pub bytes: u64,
    /// Directories that were compared; none where it was not written down.
    pub directories: Option<u64>,
    /// Links that were compared; none where it was not written down.
    pub links: Option<u64>,
    /// Seconds that it took.
    pub seconds: f64,
    /// What it waited for most; none where that is not known.
    pub limited: Option<Limited>,
    /// The movers' images by digest, of the source and the target; empty where that is not known.
    pub images: [String; 2],
    /// Digest of the source.
    pub source_digest: String,
    /// Digest of the target.
    pub target_digest: String,
    /// Bytes of those that were compared before writes stopped, and not read again; none where all were.
    pub compared_before: Option<u64>,
    /// How many files are not the same.
    pub differences: u64,
}

/// What read both sides for a verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readers {
    /// The program, with its version.
    pub tool: String,
    /// The movers' image by name, and by each digest that it had.
    pub images: Vec<String>,
}

impl Readers {
    pub(super) fn of(
        outputs: &BTreeMap<String, Value>,
        volumes: &[VerifiedVolume],
    ) -> Option<Self> {
        let verified = outputs.get(&volumes.first()?.step)?;
        let (tool, image) = (text(verified, "tool"), text(verified, "image"));
        if tool.is_empty() {
            return None;
        }
        let digests = volumes.iter().flat_map(|volume| &volume.images);
        let digests: BTreeSet<_> = digests.filter(|digest| !digest.is_empty()).collect();
        let mut images: Vec<_> = digests
            .into_iter()
            .map(|digest| format!("{image}, {digest}"))
            .collect();
        if images.is_empty() {
            images.push(image);
        }
        Some(Self { tool, images })
    }
}

/// Something that was found on a volume.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Finding {
    /// The step that found it.
    pub step: String,
    /// The source's claim.
    pub volume: String,
    /// What.
    pub what: String,
    /// How often.
    pub count: u64,
    /// Some of the names.
    pub examples: Vec<String>,
}

/// Reads each entry of `volumes` in the outputs of these steps, in their order.
pub(super) fn each<'a, T>(
    steps: impl Iterator<Item = &'a str>,
    outputs: &BTreeMap<String, Value>,
    read: impl Fn(&str, &Value) -> Option<T>,
) -> Vec<T> {
    steps
        .filter_map(|step| Some((step, outputs.get(step)?.get("volumes")?.as_array()?)))
        .flat_map(|(step, volumes)| volumes.iter().map(move |volume| (step, volume)))
        .filter_map(|(step, volume)| read(step, volume))
        .collect()
}

/// What was found on a volume; what cannot be read as a finding is left to the JSON.
pub(super) fn findings(step: &str, volume: &Value) -> Vec<Finding> {
    #[derive(Deserialize)]
    struct Found {
        what: String,
        count: u64,
        #[serde(default)]
        examples: Vec<String>,
    }
    volume
        .get("findings")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|found| Found::deserialize(found).ok())
        .map(|found| Finding {
            step: step.to_owned(),
            volume: text(volume, "source"),
            what: found.what,
            count: found.count,
            examples: found.examples,
        })
        .collect()
}

impl CopiedVolume {
    pub(super) fn read(step: &str, volume: &Value) -> Option<Self> {
        Some(Self {
            step: step.to_owned(),
            source: text(volume, "source"),
            target: text(volume, "target"),
            rounds: number(volume, "rounds"),
            files: number(volume, "files"),
            bytes: number(volume, "bytes"),
            files_sent: number(volume, "files_sent"),
            // It is what tells a copy from a comparison.
            bytes_sent: volume.get("bytes_sent")?.as_u64()?,
            seconds: volume.get("seconds").and_then(Value::as_f64).unwrap_or(0.0),
            way: way(volume),
            because: because(volume),
            limited: limited(volume),
        })
    }
}

impl VerifiedVolume {
    pub(super) fn read(step: &str, volume: &Value) -> Option<Self> {
        Some(Self {
            step: step.to_owned(),
            source: text(volume, "source"),
            target: text(volume, "target"),
            files: number(volume, "files"),
            bytes: number(volume, "bytes"),
            directories: volume.get("directories").and_then(Value::as_u64),
            links: volume.get("links").and_then(Value::as_u64),
            seconds: volume.get("seconds").and_then(Value::as_f64).unwrap_or(0.0),
            limited: limited(volume),
            images: ["source_image", "target_image"].map(|key| text(volume, key)),
            source_digest: text(volume, "source_digest"),
            target_digest: text(volume, "target_digest"),
            compared_before: volume
                .get("compared_before")
                .map(|before| number(before, "bytes")),
            differences: volume.get("differences")?.as_u64()?,
        })
    }
}

fn limited(volume: &Value) -> Option<Limited> {
    Limited::deserialize(volume.get("limited")?).ok()
}

/// A way that has a reason is an object with that.
fn way(volume: &Value) -> String {
    let named = volume.get("way").and_then(Value::as_object);
    match named.and_then(|way| way.keys().next()) {
        Some(name) => name.clone(),
        None => text(volume, "way"),
    }
}

/// The reasons that a way has.
fn because(volume: &Value) -> Vec<String> {
    let named = volume.get("way").and_then(Value::as_object);
    let reasons = named.and_then(|way| way.values().next()?.get("because")?.as_array());
    let reasons = reasons.into_iter().flatten().filter_map(Value::as_str);
    reasons.map(str::to_owned).collect()
}

pub(super) fn text(of: &Value, key: &str) -> String {
    of.get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

pub(super) fn number(of: &Value, key: &str) -> u64 {
    of.get(key).and_then(Value::as_u64).unwrap_or(0)
}
