//! A tenant's life as kine writes it down: objects that come, change and go, gaps, and a compaction.
use std::collections::BTreeMap;

/// A row of kine's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub id: i64,
    pub name: String,
    pub created: i32,
    pub deleted: i32,
    pub create_revision: i64,
    pub prev_revision: i64,
    pub lease: i32,
    pub value: Option<Vec<u8>>,
    pub old_value: Option<Vec<u8>>,
}

/// What a name stands at.
struct Entry {
    id: i64,
    create_revision: i64,
    deleted: bool,
    value: Vec<u8>,
}

/// Names of the API server's, by their part of the changes.
const KINDS: [(&str, i32); 6] = [
    ("/registry/configmaps/shop/settings", 0),
    ("/registry/secrets/shop/token", 0),
    ("/registry/pods/shop/web", 0),
    ("/registry/events/shop/web", 3_600),
    ("/registry/leases/kube-node-lease/node", 0),
    ("/registry/masterleases/10.0.0", 15),
];

/// A tenant that goes on living.
pub struct Tenant {
    standing: BTreeMap<String, Entry>,
    random: fastrand::Rng,
    /// The revision of its next change.
    pub next: i64,
}

impl Tenant {
    /// One whose first change gets this revision.
    pub fn new(next: i64) -> Self {
        Self {
            standing: BTreeMap::new(),
            random: fastrand::Rng::with_seed(next.unsigned_abs()),
            next,
        }
    }

    /// The row that kine begins with.
    pub fn begin(&mut self) -> Row {
        let id = self.next;
        self.next += 1;
        Row {
            name: "compact_rev_key".to_owned(),
            created: 1,
            deleted: 0,
            value: Some(Vec::new()),
            ..gap(id)
        }
    }

    /// So many changes more.
    pub fn changes(&mut self, count: usize) -> Vec<Row> {
        let mut rows = Vec::with_capacity(count);
        for number in 0..count {
            // A transaction that was rolled back leaves a gap; some of them kine fills.
            match number % 41 {
                17 => self.next += 2,
                23 => {
                    rows.push(gap(self.next));
                    self.next += 1;
                }
                _ => {}
            }
            rows.push(self.change(number, count));
        }
        rows
    }

    fn change(&mut self, number: usize, count: usize) -> Row {
        let (kind, lease) = KINDS[self.random.usize(..KINDS.len())];
        let name = format!("{kind}-{}", self.random.usize(..count.div_ceil(5)));
        let before = self.standing.remove(&name);
        let created = before.as_ref().is_none_or(|before| before.deleted);
        let deleted = !created && self.random.u8(..4) == 0;
        let row = Row {
            id: self.next,
            name,
            created: i32::from(created),
            deleted: i32::from(deleted),
            create_revision: before.as_ref().map_or(0, |before| before.create_revision),
            prev_revision: before.as_ref().map_or(0, |before| before.id),
            lease,
            value: Some(value(&mut self.random, number)),
            old_value: before.as_ref().map(|before| before.value.clone()),
        };
        self.next += 1;
        let create_revision = match before {
            Some(before) if !created => before.create_revision,
            _ => row.id,
        };
        let entry = Entry {
            id: row.id,
            create_revision,
            deleted,
            value: row.value.clone().unwrap_or_default(),
        };
        self.standing.insert(row.name.clone(), entry);
        row
    }
}

fn gap(id: i64) -> Row {
    Row {
        id,
        name: format!("gap-{id}"),
        created: 0,
        deleted: 1,
        create_revision: 0,
        prev_revision: 0,
        lease: 0,
        value: None,
        old_value: None,
    }
}

/// A protobuf object of Kubernetes with all that a text format trips over, now and then of a mebibyte.
fn value(random: &mut fastrand::Rng, number: usize) -> Vec<u8> {
    let mut value = b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap".to_vec();
    value.extend(b"{\"a\":\"line\\n\\\"quoted\\\"\\\\\",'it''s'}\r\n\t\x1a\xff\xfe%_`");
    let more = if number % 97 == 5 {
        1 << 20
    } else {
        random.usize(..600)
    };
    value.extend((0..more).map(|_| random.u8(..)));
    value
}
