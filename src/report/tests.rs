use serde_json::json;

use super::*;
use crate::{
    engine::Record,
    report::sample::{all, at, entries, header, then},
};

fn report(entries: &[Entry], second: i64, locked: bool) -> Report {
    Report::of(&header(), entries, &Seen::at(at(second), locked))
}

/// State, current step and seconds frozen of the sample cut after `count` entries, one second later.
fn cut(count: usize, locked: bool) -> (State, Option<String>, f64) {
    let entries = entries(count);
    let now = entries.last().map_or(at(0), |entry| entry.at) + jiff::SignedDuration::from_secs(1);
    let report = Report::of(&header(), &entries, &Seen::at(now, locked));
    let step = report
        .current
        .map(|current| format!("{}/{} {}", current.number, current.of, current.step));
    (report.state, step, report.frozen.seconds)
}

#[test]
fn every_moment_of_a_migration_has_its_state() {
    let at_step = |step: &str| Some(step.to_owned());
    for (count, locked, expected) in [
        (0, false, (State::Planned, at_step("1/7 preflight"), 0.0)),
        (0, true, (State::Running, at_step("1/7 preflight"), 0.0)),
        (1, true, (State::Running, at_step("1/7 preflight"), 0.0)),
        (
            1,
            false,
            (State::Interrupted, at_step("1/7 preflight"), 0.0),
        ),
        (
            2,
            false,
            (State::Interrupted, at_step("2/7 warm-copy"), 0.0),
        ),
        (5, true, (State::Running, at_step("3/7 freeze"), 1.0)),
        (8, true, (State::Failed, at_step("4/7 final-copy"), 31.0)),
        (9, true, (State::Running, at_step("4/7 final-copy"), 61.0)),
        (14, true, (State::Running, at_step("7/7 hand-over"), 156.0)),
        (16, false, (State::Waiting, at_step("7/7 hand-over"), 156.0)),
        (17, false, (State::Done, None, 156.0)),
    ] {
        assert_eq!(
            cut(count, locked),
            expected,
            "after {count} entries, locked: {locked}"
        );
    }
}

#[test]
fn a_step_tells_its_attempts_time_and_reasons() -> anyhow::Result<()> {
    let report = report(&all(), 1000, false);
    let copy = report
        .step("final-copy")
        .ok_or_else(|| anyhow::anyhow!("no such step"))?;
    assert_eq!(
        (copy.attempts, copy.seconds, copy.state),
        (2, Some(23.0), StepState::Done)
    );
    assert_eq!((copy.started, copy.ended), (Some(at(421)), Some(at(474))));
    assert!(
        copy.evidence.is_empty(),
        "what was solved is no longer shown"
    );
    let failed = self::report(&entries(8), 431, false);
    let copy = failed
        .step("final-copy")
        .ok_or_else(|| anyhow::anyhow!("no such step"))?;
    assert_eq!(
        (copy.why.as_str(), copy.evidence.len()),
        ("pod shop/orders-db-1 was evicted", 1)
    );
    let marked = report
        .step("hand-over")
        .and_then(|step| step.marked.as_deref());
    assert_eq!(marked, Some("dns switched, ticket 4711"));
    assert_eq!(
        report
            .runners
            .iter()
            .map(|runner| (runner.fence, runner.entries))
            .collect::<Vec<_>>(),
        [(1, 8), (2, 9)]
    );
    Ok(())
}

#[test]
fn a_running_step_counts_up_to_the_look_and_a_killed_one_does_not() {
    let seconds = |locked| {
        report(&entries(9), 470, locked)
            .step("final-copy")
            .and_then(|step| step.seconds)
    };
    assert_eq!((seconds(true), seconds(false)), (Some(19.0), Some(9.0)));
}

#[test]
fn a_rollback_is_told_from_its_beginning_to_its_end() {
    let undo = |second, step| {
        vec![
            (second, step, Record::UndoStarted),
            (second + 1, step, Record::Undone),
        ]
    };
    let begun = then(entries(8), vec![(500, "final-copy", Record::UndoStarted)]);
    assert_eq!(report(&begun, 501, true).state, State::RollingBack);
    assert_eq!(report(&begun, 501, false).state, State::RollbackInterrupted);
    let failed = then(
        begun.clone(),
        vec![(502, "final-copy", Record::UndoFailed("no route".to_owned()))],
    );
    let told = report(&failed, 503, true);
    assert_eq!(
        (
            told.state,
            told.step("final-copy").map(|step| step.why.as_str())
        ),
        (State::RollbackFailed, Some("no route"))
    );
    let one = then(entries(8), undo(500, "final-copy"));
    assert_eq!(report(&one, 600, true).state, State::RollingBack);
    assert_eq!(report(&one, 600, false).state, State::PartlyRolledBack);
    assert!(report(&one, 600, false).frozen.now);
    let thawed = then(one, undo(510, "freeze"));
    let told = report(&thawed, 600, false);
    assert!(!told.frozen.now);
    assert_eq!(
        serde_json::to_value(told.frozen.seconds).ok(),
        Some(json!(111.0))
    );
    let clean = then(then(thawed, undo(520, "warm-copy")), undo(530, "preflight"));
    let told = report(&clean, 600, false);
    assert_eq!(
        (told.state, told.current.as_ref(), told.outputs.len()),
        (State::RolledBack, None, 0)
    );
    let again = then(clean, vec![(700, "preflight", Record::Started)]);
    assert_eq!(report(&again, 701, true).state, State::Running);
}

#[test]
fn writes_stop_again_while_the_target_is_put_back() {
    let undoing = then(all(), vec![(1000, "start-target", Record::UndoStarted)]);
    let told = report(&undoing, 1010, true).frozen;
    assert_eq!(
        (told.now, told.seconds, told.periods.len()),
        (true, 166.0, 2)
    );
}

#[test]
fn what_no_longer_holds_is_to_do_again() {
    let broken = then(
        entries(6),
        vec![(
            425,
            "freeze",
            Record::Broken("somebody scaled it up".to_owned()),
        )],
    );
    let told = report(&broken, 426, false);
    assert_eq!(told.state, State::Interrupted);
    assert_eq!(
        told.current.as_ref().map(|current| current.step.as_str()),
        Some("freeze")
    );
    assert_eq!((told.frozen.now, told.frozen.seconds), (false, 25.0));
    let again = then(
        broken,
        vec![
            (430, "freeze", Record::Started),
            (431, "freeze", Record::Done(json!(1))),
        ],
    );
    let step = report(&again, 440, true)
        .step("freeze")
        .and_then(|step| step.broken.clone());
    assert_eq!(step.as_deref(), Some("somebody scaled it up"));
}

#[test]
fn volumes_and_findings_are_read_as_far_as_they_are_there() {
    let told = report(&all(), 1000, false);
    assert_eq!(
        told.copied()
            .iter()
            .map(|volume| volume.step.as_str())
            .collect::<Vec<_>>(),
        ["warm-copy", "final-copy"]
    );
    assert_eq!(told.verified().len(), 1);
    assert_eq!(told.findings.len(), 2);
    let odd = [
        json!({"volumes": 7}),
        json!({"volumes": [null, {"findings": [{"count": -1}]}]}),
        json!("x"),
    ];
    for output in odd {
        let mut entries = all();
        entries[3].record = Record::Done(output.clone());
        let told = report(&entries, 1000, false);
        assert_eq!(
            (told.copied().len(), told.findings.len()),
            (1, 1),
            "{output}"
        );
        assert_eq!(
            told.outputs.get("warm-copy"),
            Some(&output),
            "what is not known stays whole"
        );
    }
}

#[test]
fn a_forecast_counts_only_where_it_was_measured() {
    let warm = |rounds: u64, expected: Option<f64>| {
        let mut entries = entries(6);
        entries[3].record = Record::Done(json!({
            "expected_freeze": expected, "volumes": [{"rounds": 1}, {"rounds": rounds}],
        }));
        entries
    };
    let expected = |entries: &[Entry]| report(entries, 1000, false).frozen.expected_seconds;
    assert_eq!(expected(&warm(1, Some(9.5))), Some(9.5));
    assert_eq!(expected(&warm(1, None)), None);
    // A volume that no warm round has read says nothing of how long it takes.
    assert_eq!(expected(&warm(0, Some(9.5))), None);
    assert_eq!(expected(&entries(3)), None);
    // A plain copy stops nobody's writes.
    let mut copy = header();
    copy.steps.retain(|step| step != "freeze");
    let copied = Report::of(&copy, &entries(4), &Seen::at(at(1000), false));
    assert_eq!(copied.frozen.expected_seconds, None);
}

#[test]
fn names_are_what_is_serialized() {
    for state in [
        State::Planned,
        State::RollingBack,
        State::RollbackInterrupted,
        State::PartlyRolledBack,
    ] {
        assert_eq!(serde_json::to_value(state).ok(), Some(json!(state.name())));
    }
    for state in [
        StepState::Pending,
        StepState::UndoFailed,
        StepState::Undoing,
    ] {
        assert_eq!(serde_json::to_value(state).ok(), Some(json!(state.name())));
    }
}
