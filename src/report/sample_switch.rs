//! A journal to test with: a tenant that moved from one `DataStore` to another.
use serde_json::{Value, json};

use super::sample;
use crate::engine::{Entry, Header, Record, State};

pub(crate) fn header() -> Header {
    let steps = [
        "preflight",
        "pause",
        "warm-copy",
        "raise",
        "warm-verify",
        "freeze",
        "final-copy",
        "verify",
        "lead",
        "flip",
        "roll-out",
        "thaw",
        "settle",
    ];
    Header {
        migration: "switch-t1-gold".to_owned(),
        namespace: "tenants".to_owned(),
        playbook: "kamaji-datastore".to_owned(),
        steps: steps.map(str::to_owned).to_vec(),
        ..sample::header()
    }
}

/// All entries: `late` writes came to the source after the comparison, and the source ended below the target's
/// first revision, or went beyond it.
pub(crate) fn all(late: u64, raised: bool) -> Vec<Entry> {
    let copied = |read: u64, written: u64, removed: u64, revision: u64| {
        json!({
            "position": {"cluster": 7, "revision": revision}, "revision": revision, "read": read,
            "written": written, "removed": removed, "bytes": written * 1_024, "anew": false,
        })
    };
    let class = |class: &str, keys: u64, different: u64| json!({"class": class, "keys": keys, "different": different});
    let compared = json!({
        "keys": 180_412, "bytes": 212_336_128_u64, "digest": "9b74c9897bac770ffc029102a200c5de",
        "ignored": [class("events", 912, 0), class("node leases", 40, 3)],
        "different": 0, "differences": [],
        "earlier": {"source": 4_215_003_u64, "target": 900, "again": 17},
    });
    let keys: Vec<_> = (0..late)
        .map(|number| format!("configmaps/shop/late-{number}"))
        .collect();
    let because = if raised {
        "the target's revisions begin above 4225101, and 4215020 is the source's last: clients miss nothing"
    } else {
        "the target's revisions begin above 4225101, and the source went on to 4315020: clients that go on from there miss what the target gave the same revisions, until they are restarted"
    };
    let settled = json!({
        "source": if raised { 4_215_020_u64 } else { 4_315_020 },
        "later": {"writes": late, "keys": keys},
        "restart_kubelets": !raised, "because": because,
    });
    let outputs = [
        ("preflight", 4, json!({"checks": 38})),
        ("pause", 1, Value::Null),
        (
            "warm-copy",
            14,
            json!({"rounds": [copied(180_002, 180_002, 0, 4_213_700), copied(460, 431, 29, 4_214_990)]}),
        ),
        (
            "raise",
            1,
            json!({"source": 4_215_002_u64, "before": 812, "now": 4_225_002_u64}),
        ),
        (
            "warm-verify",
            7,
            json!({"rounds": [copied(40, 40, 0, 4_215_003), copied(5, 5, 0, 4_215_006)], "compared": null,
                "raised": {"source": 4_215_005_u64, "before": 4_225_002_u64, "now": 4_225_100_u64}, "expected_freeze": 14.2}),
        ),
        (
            "freeze",
            1,
            json!({"how": "read-only", "refused_by": ["t1-5c9d8-x2x7k"], "since": "2025-11-21T02:00:21Z"}),
        ),
        (
            "final-copy",
            1,
            json!({"rounds": [copied(12, 11, 1, 4_215_010)]}),
        ),
        ("verify", 2, compared),
        (
            "lead",
            1,
            json!({"source": 4_215_012_u64, "before": 4_225_100_u64, "now": 4_225_101_u64}),
        ),
        ("flip", 0, Value::Null),
        ("roll-out", 9, Value::Null),
        (
            "thaw",
            1,
            json!({"accepted_by": ["t1-7f66d-8n4q2"], "revision": 4_225_160_u64}),
        ),
        ("settle", 4, settled),
    ];
    let mut entries = Vec::new();
    let mut second = 0;
    for (step, took, output) in outputs {
        for (at, record) in [
            (second, Record::Started),
            (second + took, Record::Done(output)),
        ] {
            entries.push(Entry {
                seq: u32::try_from(entries.len() + 1).unwrap_or(u32::MAX),
                fence: 1,
                at: sample::at(at),
                step: step.to_owned(),
                record,
            });
        }
        second += took;
    }
    assert!(
        State::fold(&entries).is_ok(),
        "the sample is a history that can be"
    );
    entries
}
