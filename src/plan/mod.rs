//! The plan file: its types, reading, checking with field paths, and its digest.
mod amount;
mod changes;
mod checks;
mod locate;
mod read;
mod types;
mod validate;
mod words;

pub use amount::{Quantity, Rate, Size, Span};
pub use changes::{changes, digest};
pub use checks::{CHECKS_KIND, Compare, WorkloadCheck, read_checks};
pub use read::{PlanError, check, parse, read};
pub use types::{
    API_VERSION, BucketPlace, Claims, Freeze, FreezeMode, KIND, Metadata, Mover, MoverExecutable,
    MoverWay, Network, Objects, Plan, Playbook, RunAs, Source, Spec, Target, TenantFreeze,
    TenantWay, Verify, Warm, Workload,
};
pub use validate::short_name;
