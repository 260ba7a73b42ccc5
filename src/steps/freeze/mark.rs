//! The note on a frozen workload: whose freeze it is, and what to put back, should the journal be lost.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Original;
use crate::marks::{Belongs, ORIGINAL};
use crate::{
    adapters::kube::{JsonPatchOperation, pointer},
    engine::{Failure, Kind},
    plan::FreezeMode,
};

/// Version of the note's format. A reader refuses every other.
const VERSION: u32 = 1;

/// The note in the annotation [`ORIGINAL`].
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Version of the note's format.
    version: u32,
    /// The migration that froze it.
    pub migration: String,
    /// The namespace of its journal.
    pub home: String,
    /// The journal's id.
    pub run: String,
    /// The workload's uid: a note that was copied with a manifest tells nothing about the copy.
    pub uid: String,
    /// How it was frozen.
    pub mode: FreezeMode,
    /// What to put back.
    pub original: Original,
}

/// Only what every version of the note has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Mark {
    /// A note for this object.
    pub(super) fn new(belongs: &Belongs, uid: &str, mode: FreezeMode, original: Original) -> Self {
        Self {
            version: VERSION,
            migration: belongs.migration.clone(),
            home: belongs.home.clone(),
            run: belongs.run.clone(),
            uid: uid.to_owned(),
            mode,
            original,
        }
    }

    /// The note on an object; `object` names it in errors. A note that came with a copied manifest is none.
    pub(super) fn read(meta: &ObjectMeta, object: &str) -> Result<Option<Self>, Failure> {
        let Some(text) = meta.annotations.as_ref().and_then(|all| all.get(ORIGINAL)) else {
            return Ok(None);
        };
        let unreadable = |why: String| {
            let message = format!(
                "{object} was frozen, and its annotation {ORIGINAL} cannot be read: {why}; restore the annotation, or put the spec back by hand and remove it"
            );
            Failure::new(Kind::Blocked, message)
        };
        let found: Versioned =
            serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        if found.version != VERSION {
            return Err(unreadable(format!(
                "it has version {}, and this program reads version {VERSION}",
                found.version
            )));
        }
        let mark: Self =
            serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        Ok(Some(mark).filter(|mark| meta.uid.as_ref() == Some(&mark.uid)))
    }

    /// Whether this run wrote it.
    pub(super) fn is_of(&self, belongs: &Belongs) -> bool {
        self.run == belongs.run && self.migration == belongs.migration && self.home == belongs.home
    }

    /// Whose freeze it is, for people: `migration shop/orders`.
    #[must_use]
    pub fn owner(&self) -> String {
        format!("migration {}/{}", self.home, self.migration)
    }

    /// The operation that writes it, with the object's other annotations kept.
    pub(super) fn write(&self, meta: &ObjectMeta) -> Result<JsonPatchOperation, serde_json::Error> {
        let text = Value::String(serde_json::to_string(self)?);
        if meta.annotations.is_some() {
            let path = pointer(&["metadata", "annotations", ORIGINAL]);
            return Ok(JsonPatchOperation::Add { path, value: text });
        }
        let value = Value::Object(Map::from_iter([(ORIGINAL.to_owned(), text)]));
        let path = pointer(&["metadata", "annotations"]);
        Ok(JsonPatchOperation::Add { path, value })
    }

    /// The operation that takes the note off an object, where there is one.
    pub(super) fn remove(meta: &ObjectMeta) -> Option<JsonPatchOperation> {
        let annotations = meta.annotations.as_ref()?;
        annotations
            .contains_key(ORIGINAL)
            .then(|| JsonPatchOperation::Remove {
                path: pointer(&["metadata", "annotations", ORIGINAL]),
            })
    }
}
