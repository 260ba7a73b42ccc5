//! A journal to test with: a migration that failed once, was taken over, marked and done.
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::engine::{Entry, FORMAT, Header, Kind, Record, State};

/// When the sample begins.
pub(crate) const BEGUN: Timestamp = Timestamp::constant(1_763_690_400, 0);

pub(crate) fn at(second: i64) -> Timestamp {
    BEGUN + SignedDuration::from_secs(second)
}

pub(crate) fn header() -> Header {
    let steps = [
        "preflight",
        "warm-copy",
        "freeze",
        "final-copy",
        "verify",
        "start-target",
        "hand-over",
    ];
    Header {
        format: FORMAT,
        tool: "kubectl-migrate 0.1.0".to_owned(),
        migration: "orders-db".to_owned(),
        namespace: "shop".to_owned(),
        cluster: "8f0c".to_owned(),
        target_cluster: None,
        run: "r1".to_owned(),
        playbook: "statefulset".to_owned(),
        plan: json!({}),
        digest: "d1".to_owned(),
        steps: steps.map(str::to_owned).to_vec(),
        created: BEGUN,
    }
}

/// The first `count` entries of the sample, which is a history that can be.
pub(crate) fn entries(count: usize) -> Vec<Entry> {
    let mut entries = all();
    entries.truncate(count);
    assert!(
        State::fold(&entries).is_ok(),
        "the sample is a history that can be"
    );
    entries
}

/// All entries of the sample.
pub(crate) fn all() -> Vec<Entry> {
    let evidence = "node-pressure eviction on node worker-3 (ephemeral-storage), 02:14:09";
    let failed = Record::Failed {
        kind: Kind::Error,
        error: "pod shop/orders-db-1 was evicted".to_owned(),
        evidence: vec![evidence.to_owned()],
    };
    let copied = |rounds, sent: u64| {
        let expected = (rounds > 1).then_some(144.5);
        json!({"expected_freeze": expected, "volumes": [{
            "source": "shop/data-orders-db-0", "target": "shop/data-orders-db-0", "rounds": rounds,
            "files_sent": 12, "bytes_sent": sent, "files": 1834, "bytes": 15_032_385_536_u64, "seconds": 71.5,
            "way": if rounds > 1 { json!("direct") } else { json!({"client": {"because": ["no route to host"]}}) },
            "limited": {"by": if rounds > 1 { "source disk" } else { "network" }, "share": 0.71},
            "findings": [{"what": "socket, not copied", "count": 1, "examples": ["run/db|x.sock"]}],
        }]})
    };
    let image = "localhost/kubectl-migrate@sha256:2c26b46b68ffc68ff99b453c1d304134";
    let verified = json!({"level": "content", "tool": "kubectl-migrate 0.1.0", "image": "localhost/kubectl-migrate:0.1.0",
      "volumes": [{
        "source": "shop/data-orders-db-0", "target": "shop/data-orders-db-0", "files": 1834,
        "bytes": 15_032_385_536_u64, "source_digest": "9b74c9897bac770ffc029102a200c5de",
        "target_digest": "9b74c9897bac770ffc029102a200c5de", "differences": 0, "findings": [],
        "directories": 212, "links": 7, "seconds": 41.0, "limited": {"by": "target disk", "share": 0.83},
        "source_image": image, "target_image": image,
    }]});
    let told = [
        (1, 0, "preflight", Record::Started),
        (1, 4, "preflight", Record::Done(json!({"checks": 31}))),
        (1, 5, "warm-copy", Record::Started),
        (1, 375, "warm-copy", Record::Done(copied(2, 15_032_385_536))),
        (1, 400, "freeze", Record::Started),
        (1, 420, "freeze", Record::Done(json!({"replicas": 3}))),
        (1, 421, "final-copy", Record::Started),
        (1, 430, "final-copy", failed),
        (2, 460, "final-copy", Record::Started),
        (2, 474, "final-copy", Record::Done(copied(1, 1_288_490_188))),
        (2, 475, "verify", Record::Started),
        (2, 530, "verify", Record::Done(verified)),
        (2, 531, "start-target", Record::Started),
        (2, 556, "start-target", Record::Done(json!(null))),
        (2, 557, "hand-over", Record::Started),
        (
            2,
            558,
            "hand-over",
            Record::Waiting("switch the clients, then mark".to_owned()),
        ),
        (
            2,
            900,
            "hand-over",
            Record::Marked("dns switched, ticket 4711".to_owned()),
        ),
    ];
    let number = |(seq, (fence, second, step, record)): (u32, (u64, i64, &str, Record))| Entry {
        seq,
        fence,
        at: at(second),
        step: step.to_owned(),
        record,
    };
    (1..).zip(told).map(number).collect()
}

/// The sample's next entries, for what else can happen.
pub(crate) fn then(mut entries: Vec<Entry>, more: Vec<(i64, &str, Record)>) -> Vec<Entry> {
    for (second, step, record) in more {
        let seq = u32::try_from(entries.len() + 1).unwrap_or(u32::MAX);
        entries.push(Entry {
            seq,
            fence: 3,
            at: at(second),
            step: step.to_owned(),
            record,
        });
    }
    assert!(
        State::fold(&entries).is_ok(),
        "the sample is a history that can be"
    );
    entries
}
