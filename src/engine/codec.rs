//! The journal as text: one JSON object a line, each sealed with a digest over itself and the line
//! before, so that a line that is cut, changed or moved is found and named.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Entry, JournalError};

/// Version of the journal's format. A reader refuses every other.
pub const FORMAT: u32 = 1;

/// Length of a seal in hexadecimal digits: 64 bits find every accident; nobody is kept from forging.
const SEAL: usize = 16;

/// The first line of a journal: what it is about, and the plan, whole.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// The program that began it, with its version.
    pub tool: String,
    /// The migration's name.
    pub migration: String,
    /// Its namespace.
    pub namespace: String,
    /// Identity of the cluster: the uid of its namespace `kube-system`.
    pub cluster: String,
    /// Identity of the target's cluster, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_cluster: Option<String>,
    /// Unique for this journal; every object made for it carries it.
    pub run: String,
    /// The playbook's name, also of the one-step migrations of single verbs.
    pub playbook: String,
    /// The plan as it was read, in JSON.
    pub plan: serde_json::Value,
    /// Digest of the plan.
    pub digest: String,
    /// The ids of its steps, in order.
    pub steps: Vec<String>,
    /// When it was begun.
    pub created: Timestamp,
}

/// Only what every version of the format has: enough to refuse a newer one by its number.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

/// The header's line.
#[must_use]
pub fn encode_header(header: &Header) -> String {
    seal("", &to_json(header))
}

/// The line of an entry that follows the line `previous`.
#[must_use]
pub fn encode_entry(previous: &str, entry: &Entry) -> String {
    seal(previous, &to_json(entry))
}

/// Reads a journal's lines, checking each seal, the numbers and the version.
///
/// `place` is where the journal is, for the error's text.
pub fn decode(place: &str, lines: &[String]) -> Result<(Header, Vec<Entry>), JournalError> {
    let damaged = |number: usize, why: String| JournalError::Damaged {
        place: place.to_owned(),
        line: number + 1,
        why,
    };
    let first = lines
        .first()
        .ok_or_else(|| damaged(0, "it is empty".to_owned()))?;
    // The version is looked at before the seal: a newer one may seal in another way.
    let text = first.get(SEAL + 1..).unwrap_or_default();
    if let Ok(Versioned { format }) = serde_json::from_str(text)
        && format != FORMAT
    {
        return Err(JournalError::Version {
            place: place.to_owned(),
            found: format,
        });
    }
    let body = unseal("", first).map_err(|why| damaged(0, why))?;
    let header: Header = serde_json::from_str(body).map_err(|e| damaged(0, e.to_string()))?;
    let mut entries: Vec<Entry> = Vec::with_capacity(lines.len());
    for (number, pair) in lines.windows(2).enumerate() {
        let number = number + 1;
        let body = unseal(&pair[0], &pair[1]).map_err(|why| damaged(number, why))?;
        let entry: Entry =
            serde_json::from_str(body).map_err(|e| damaged(number, e.to_string()))?;
        if usize::try_from(entry.seq) != Ok(number) {
            return Err(damaged(
                number,
                format!("it says that it is entry {}", entry.seq),
            ));
        }
        if let Some(last) = entries.last()
            && entry.fence < last.fence
        {
            return Err(damaged(
                number,
                format!(
                    "it was written by runner {} after runner {} had taken over",
                    entry.fence, last.fence
                ),
            ));
        }
        entries.push(entry);
    }
    Ok((header, entries))
}

fn to_json(value: &impl Serialize) -> String {
    // Our own types have string keys and no fallible Serialize.
    serde_json::to_string(value).unwrap_or_else(|error| unreachable!("journal entry: {error}"))
}

fn seal(previous: &str, body: &str) -> String {
    format!("{} {body}", digest(previous, body))
}

fn unseal<'line>(previous: &str, line: &'line str) -> Result<&'line str, String> {
    let (sum, body) = line.split_once(' ').ok_or_else(|| "it is cut".to_owned())?;
    if sum != digest(previous, body) {
        return Err(
            "its digest does not fit it, or the line before it is not the one it was written after"
                .to_owned(),
        );
    }
    Ok(body)
}

fn digest(previous: &str, body: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(previous.as_bytes());
    hasher.update(b"\n");
    hasher.update(body.as_bytes());
    hasher.finalize().to_hex()[..SEAL].to_owned()
}
