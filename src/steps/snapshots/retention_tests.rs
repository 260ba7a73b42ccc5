//! The rules on timelines that are written down, and on generated ones.
use super::*;

fn dated(at: &str) -> Dated {
    let at: Timestamp = at.parse().expect("a time");
    Dated {
        id: SnapshotId::new("db", at),
        at,
        changed: false,
    }
}

fn told(all: &[&str], keep: &Keep) -> Vec<String> {
    let kept = stay(all.iter().map(|at| dated(at)).collect(), keep);
    kept.into_iter()
        .map(|(id, reasons)| {
            let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
            format!("{}: {}", id.time, reasons.join(", "))
        })
        .collect()
}

#[test]
fn each_rule_keeps_the_last_of_its_periods_and_says_so() {
    let all = [
        "2026-10-31T23:59:59Z",
        "2026-11-01T00:00:00Z",
        "2026-11-22T23:00:00Z",
        "2026-11-23T01:00:00Z",
        "2026-11-27T04:00:00Z",
        "2026-11-27T16:00:00Z",
        "2026-11-28T04:00:00Z",
    ];
    let keep = Keep {
        last: 1,
        daily: 2,
        weekly: 2,
        monthly: 2,
    };
    insta::assert_snapshot!(told(&all, &keep).join("\n"), @r"
    20261031T235959Z: last of month 2026-10
    20261122T230000Z: last of week 2026-W47
    20261127T160000Z: last of day 2026-11-27
    20261128T040000Z: one of the last, last of day 2026-11-28, last of week 2026-W48, last of month 2026-11
    ");
    // A day with none counts for nothing.
    let daily = Keep {
        daily: 3,
        ..Keep::default()
    };
    assert_eq!(told(&all, &daily).len(), 3);
    // The year of a week is not always that of its day.
    let weekly = Keep {
        weekly: 1,
        ..Keep::default()
    };
    insta::assert_snapshot!(
        told(&["2026-12-31T12:00:00Z", "2027-01-03T12:00:00Z"], &weekly).join("\n"),
        @"20270103T120000Z: last of week 2026-W53"
    );
}

#[test]
fn the_last_good_one_stays_whatever_the_rules_say() {
    let nothing = Keep::default();
    assert!(nothing.is_nothing());
    assert_eq!(
        told(&["2026-11-27T04:00:00Z", "2026-11-28T04:00:00Z"], &nothing),
        ["20261128T040000Z: last that is whole"]
    );
    let mut all: Vec<_> = ["2026-11-26", "2026-11-27", "2026-11-28"]
        .iter()
        .map(|day| dated(&format!("{day}T04:00:00Z")))
        .collect();
    (all[1].changed, all[2].changed) = (true, true);
    let last = Keep {
        last: 1,
        ..Keep::default()
    };
    let kept = stay(all, &last);
    let reasons: Vec<_> = kept.values().flatten().map(|reason| reason.rule).collect();
    assert_eq!(reasons, [Rule::Unchanged, Rule::Last]);
}

/// A timeline of some years, with many in one day and none in many, some of the same second.
fn timeline(random: &mut fastrand::Rng) -> Vec<Dated> {
    let mut at: i64 = 1_700_000_000 + random.i64(0..100_000_000);
    let mut all = Vec::new();
    for number in 0..random.usize(0..120) {
        at += match random.u8(0..6) {
            0 => 0,
            1 => random.i64(0..3_600),
            2 | 3 => random.i64(0..86_400),
            4 => random.i64(0..7 * 86_400),
            _ => random.i64(0..70 * 86_400),
        };
        let at = Timestamp::from_second(at).expect("a time");
        all.push(Dated {
            id: SnapshotId::of_run("db", at, &format!("r{number:03}")),
            at,
            changed: random.u8(0..4) == 0,
        });
    }
    random.shuffle(&mut all);
    all
}

fn rules(random: &mut fastrand::Rng) -> Keep {
    let mut some = || match random.u8(0..4) {
        0 => 0,
        1 => 1,
        _ => random.u32(0..30),
    };
    Keep {
        last: some(),
        daily: some(),
        weekly: some(),
        monthly: some(),
    }
}

fn ids(kept: &BTreeMap<SnapshotId, Vec<Reason>>) -> BTreeSet<SnapshotId> {
    kept.keys().cloned().collect()
}

fn only(all: &[Dated], ids: &BTreeSet<SnapshotId>) -> Vec<Dated> {
    let stays = |one: &&Dated| ids.contains(&one.id);
    all.iter().filter(stays).cloned().collect()
}

/// The number of a period that a time is in, counted otherwise than by the calendar's own formats.
fn period(rule: Rule, at: Timestamp) -> i64 {
    let day = at.as_second().div_euclid(86_400);
    match rule {
        Rule::Daily => day,
        // The first day of 1970 was a Thursday.
        Rule::Weekly => (day + 3).div_euclid(7),
        _ => {
            let date = at.to_zoned(TimeZone::UTC).date();
            i64::from(date.year()) * 12 + i64::from(date.month())
        }
    }
}

/// What a rule of periods keeps, said the other way round: the newest of its period, of which so many are newer or it.
fn is_kept(one: &Dated, all: &[Dated], rule: Rule, count: u32) -> bool {
    let order = |dated: &Dated| (dated.at, dated.id.clone());
    let own = period(rule, one.at);
    let newer = all.iter().filter(|other| order(other) > order(one));
    let periods: BTreeSet<_> = newer.map(|other| period(rule, other.at)).collect();
    !periods.contains(&own) && periods.len() < count as usize
}

#[test]
fn what_stays_is_what_the_rules_say_and_nothing_else() {
    let mut random = fastrand::Rng::with_seed(20_261_128);
    for _ in 0..400 {
        let (all, keep) = (timeline(&mut random), rules(&mut random));
        let kept = stay(all.clone(), &keep);
        let order = |dated: &Dated| (dated.at, dated.id.clone());
        for one in &all {
            let newer = all.iter().filter(|other| order(other) > order(one));
            let unchanged = |other: &&Dated| !other.changed;
            let mut wanted = Vec::new();
            if newer.clone().count() < keep.last as usize {
                wanted.push(Rule::Last);
            }
            for (rule, count) in [
                (Rule::Daily, keep.daily),
                (Rule::Weekly, keep.weekly),
                (Rule::Monthly, keep.monthly),
            ] {
                if is_kept(one, &all, rule, count) {
                    wanted.push(rule);
                }
            }
            let newer = newer.collect::<Vec<_>>();
            if !one.changed && !newer.is_empty() && !newer.iter().any(unchanged) {
                wanted.push(Rule::Unchanged);
            }
            if wanted.is_empty() && newer.is_empty() {
                wanted.push(Rule::Newest);
            }
            let found: Vec<_> = kept.get(&one.id).into_iter().flatten().collect();
            let found: Vec<_> = found.iter().map(|reason| reason.rule).collect();
            assert_eq!(found, wanted, "{one:?} of {all:?} by {keep:?}");
        }
        assert_eq!(kept.is_empty(), all.is_empty());
    }
}

#[test]
fn a_rule_that_keeps_more_takes_nothing_away() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..300 {
        let (all, keep) = (timeline(&mut random), rules(&mut random));
        let kept = ids(&stay(all.clone(), &keep));
        for more in [
            Keep {
                last: keep.last + 1,
                ..keep
            },
            Keep {
                daily: keep.daily + 1,
                ..keep
            },
            Keep {
                weekly: keep.weekly + 1,
                ..keep
            },
            Keep {
                monthly: keep.monthly + 1,
                ..keep
            },
        ] {
            let kept_by_more = ids(&stay(all.clone(), &more));
            assert!(kept.is_subset(&kept_by_more), "{keep:?} {more:?}");
        }
    }
}

#[test]
fn asked_twice_or_after_each_new_one_the_same_stay() {
    let mut random = fastrand::Rng::with_seed(2);
    for _ in 0..200 {
        let (mut all, keep) = (timeline(&mut random), rules(&mut random));
        let kept = ids(&stay(all.clone(), &keep));
        let again = ids(&stay(only(&all, &kept), &keep));
        assert_eq!(again, kept, "asked twice");
        // Whoever prunes after each snapshot has the same in the end as who does it once.
        all.sort_by_key(|one| (one.at, one.id.clone()));
        let mut there: Vec<Dated> = Vec::new();
        for one in &all {
            there.push(one.clone());
            let kept = ids(&stay(there.clone(), &keep));
            there = only(&there, &kept);
        }
        let there: BTreeSet<_> = there.into_iter().map(|one| one.id).collect();
        assert_eq!(there, kept, "pruned each time, by {keep:?}");
    }
}
