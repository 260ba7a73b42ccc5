use super::*;
use crate::ui::Options;

fn step(id: &str, what: &str, undo: &str, seconds: Option<f64>) -> PlanStep {
    PlanStep {
        step: id.to_owned(),
        what: what.to_owned(),
        undo: (!undo.is_empty()).then(|| undo.to_owned()),
        irreversible: None,
        at_most_seconds: seconds,
        freezes: id == "freeze",
        thaws: id == "start-target",
    }
}

fn orders() -> PlanView {
    let steps = vec![
        step("preflight", "31 checks on both clusters", "", None),
        step(
            "warm-copy",
            "copy while the source runs, until <1% is left",
            "delete the copy",
            None,
        ),
        step(
            "freeze",
            "put statefulset/orders-db to sleep",
            "wake it up",
            Some(20.0),
        ),
        step(
            "final-copy",
            "copy what changed since",
            "delete the copy",
            None,
        ),
        step("verify", "compare every file by content", "", None),
        step(
            "start-target",
            "start prod-eu statefulset/orders-db",
            "put it to sleep",
            None,
        ),
        step(
            "hand-over",
            "you switch the clients, then `mark`",
            "switch back",
            None,
        ),
    ];
    let summary = "statefulset/orders-db → prod-eu: shop/statefulset/orders-db, 3 pods, 42.1 GiB";
    PlanView::new(
        ("shop", "orders-db"),
        "statefulset",
        summary,
        steps,
        forecast(None, Some(300.0)),
    )
}

fn forecast(expected: Option<f64>, allowed: Option<f64>) -> FreezeForecast {
    FreezeForecast {
        expected_seconds: expected,
        allowed_seconds: allowed,
        measured: true,
    }
}

fn shown(width: u16, terminal: bool, format: Format, plan: &PlanView) -> anyhow::Result<String> {
    let (ui, written) = Ui::for_test(width, terminal);
    ui.plan(format, plan)?;
    Ok(written.out())
}

#[test]
fn a_plan_shows_where_writes_stop() -> anyhow::Result<()> {
    insta::assert_snapshot!(shown(80, false, Format::Table, &orders())?, @"
    Migration shop/orders-db (statefulset): statefulset/orders-db → prod-eu: shop/statefulset/orders-db, 3 pods, 42.1 GiB

     #  STEP          WHAT IT DOES                                   UNDO              EXPECTED
     1  preflight     31 checks on both clusters                     –                        –
     2  warm-copy     copy while the source runs, until <1% is left  delete the copy          –
     3  freeze        put statefulset/orders-db to sleep             wake it up       up to 20s
     ──────────────────────────────────────────────── writes stop here ────────────────────────
     4  final-copy    copy what changed since                        delete the copy          –
     5  verify        compare every file by content                  –                        –
     6  start-target  start prod-eu statefulset/orders-db            put it to sleep          –
     7  hand-over     you switch the clients, then `mark`            switch back              –

    Expected freeze: not known before the warm rounds (allowed 5m; a cut-over that would not fit is refused then). The source is kept until you run `kubectl migrate cleanup orders-db --old-data`.
    ");
    Ok(())
}

#[test]
fn a_plan_fits_narrow_terminals() -> anyhow::Result<()> {
    insta::assert_snapshot!(shown(80, true, Format::Table, &orders())?, @"
    Migration shop/orders-db (statefulset): statefulset/orders-db → prod-eu: shop/statefulset/orders-db, 3 pods, 42.1 GiB

     #  STEP          WHAT IT DOES                        UNDO              EXPECTED
     1  preflight     31 checks on both clusters          –                        –
     2  warm-copy     copy while the source runs, until…  delete the copy          –
     3  freeze        put statefulset/orders-db to sleep  wake it up       up to 20s
     ───────────────────────────────────────── writes stop here ────────────────────
     4  final-copy    copy what changed since             delete the copy          –
     5  verify        compare every file by content       –                        –
     6  start-target  start prod-eu statefulset/orders-…  put it to sleep          –
     7  hand-over     you switch the clients, then `mar…  switch back              –

    Expected freeze: not known before the warm rounds (allowed 5m; a cut-over that would not fit is refused then). The source is kept until you run `kubectl migrate cleanup orders-db --old-data`.
    ");
    insta::assert_snapshot!(shown(40, true, Format::Table, &orders())?, @"
    Migration shop/orders-db (statefulset): statefulset/orders-db → prod-eu: shop/statefulset/orders-db, 3 pods, 42.1 GiB

     #  STEP        WHAT IT DOES  UNDO
     1  preflight   31 checks o…  –
     2  warm-copy   copy while …  delete th…
     3  freeze      put statefu…  wake it up
     ────────────── writes stop here ───────
     4  final-copy  copy what c…  delete th…
     5  verify      compare eve…  –
     6  start-tar…  start prod-…  put it to…
     7  hand-over   you switch …  switch ba…

    Expected freeze: not known before the warm rounds (allowed 5m; a cut-over that would not fit is refused then). The source is kept until you run `kubectl migrate cleanup orders-db --old-data`.
    ");
    Ok(())
}

#[test]
fn a_plan_in_colour_says_the_same() -> anyhow::Result<()> {
    let (ui, written) = Ui::for_test_with(120, true, true, Options::default());
    ui.plan(Format::Table, &orders())?;
    insta::assert_snapshot!(written.out().replace('\x1b', "␛"), @"
    Migration shop/orders-db (statefulset): statefulset/orders-db → prod-eu: shop/statefulset/orders-db, 3 pods, 42.1 GiB

     #  STEP          WHAT IT DOES                                   UNDO              EXPECTED
     1  ␛[1mpreflight␛[0m     31 checks on both clusters                     –                        –
     2  ␛[1mwarm-copy␛[0m     copy while the source runs, until <1% is left  delete the copy          –
     3  ␛[1mfreeze␛[0m        put statefulset/orders-db to sleep             wake it up       up to 20s
     ␛[33m──────────────────────────────────────────────── writes stop here ────────────────────────␛[0m
     4  ␛[1mfinal-copy␛[0m    copy what changed since                        delete the copy          –
     5  ␛[1mverify␛[0m        compare every file by content                  –                        –
     6  ␛[1mstart-target␛[0m  start prod-eu statefulset/orders-db            put it to sleep          –
     7  ␛[1mhand-over␛[0m     you switch the clients, then `mark`            switch back              –

    Expected freeze: not known before the warm rounds (allowed 5m; a cut-over that would not fit is refused then). The source is kept until you run `kubectl migrate cleanup orders-db --old-data`.
    ");
    Ok(())
}

#[test]
fn a_plan_says_where_the_way_back_ends_and_what_is_not_known() -> anyhow::Result<()> {
    let mut plan = orders();
    plan.steps[5].undo = None;
    plan.steps[5].irreversible = Some("clients write to the new cluster".to_owned());
    let plan = PlanView::new(
        ("shop", "orders-db"),
        "statefulset",
        "x",
        plan.steps,
        forecast(Some(59.0), Some(30.0)),
    );
    insta::assert_snapshot!(shown(100, false, Format::Table, &plan)?, @"
    Migration shop/orders-db (statefulset): x

     #  STEP          WHAT IT DOES                                   UNDO              EXPECTED
     1  preflight     31 checks on both clusters                     –                        –
     2  warm-copy     copy while the source runs, until <1% is left  delete the copy          –
     3  freeze        put statefulset/orders-db to sleep             wake it up       up to 20s
     ──────────────────────────────────────────────── writes stop here ────────────────────────
     4  final-copy    copy what changed since                        delete the copy          –
     5  verify        compare every file by content                  –                        –
     ───────────────────────────────────────────── no way back from here ──────────────────────
     6  start-target  start prod-eu statefulset/orders-db            none                     –
     7  hand-over     you switch the clients, then `mark`            switch back              –

    Expected freeze: about 59s, as the warm rounds measured: more than the 30s that the plan allows.
    No way back from step 6 on: clients write to the new cluster.
    The source is kept until you run `kubectl migrate cleanup orders-db --old-data`.
    ");
    Ok(())
}

#[test]
fn a_plan_that_never_stops_writes_says_nothing_of_a_freeze() -> anyhow::Result<()> {
    let plan = PlanView::new(
        ("a", "b"),
        "copy",
        "x",
        vec![step("copy", "copy", "", None)],
        forecast(None, None),
    );
    let text = shown(80, false, Format::Table, &plan)?;
    assert!(
        !text.contains("freeze") && text.contains("cleanup b"),
        "{text}"
    );
    Ok(())
}

#[test]
fn a_plan_is_complete_as_json() -> anyhow::Result<()> {
    let json: serde_json::Value = serde_json::from_str(&shown(80, true, Format::Json, &orders())?)?;
    assert_eq!(json["apiVersion"], "kubectl-migrate/v1");
    assert_eq!(json["steps"][2]["freezes"], true);
    assert_eq!(json["steps"][2]["atMostSeconds"], 20.0);
    assert!(json["freeze"]["expectedSeconds"].is_null());
    assert_eq!(json["freeze"]["allowedSeconds"], 300.0);
    assert_eq!(
        shown(80, true, Format::Name, &orders())?,
        "migration/orders-db\n"
    );
    Ok(())
}

#[test]
fn a_freeze_is_forecast_only_where_something_is_known_of_it() -> anyhow::Result<()> {
    let sentence = |change: fn(&mut PlanView)| -> anyhow::Result<String> {
        let mut plan = orders();
        change(&mut plan);
        let text = shown(200, false, Format::Table, &plan)?;
        let told = text.trim_end().rsplit("\n\n").next();
        Ok(told.unwrap_or_default().replace('\n', " "))
    };
    let told = [
        sentence(|plan| plan.freeze = forecast(None, None))?,
        sentence(|plan| plan.freeze = forecast(Some(114.0), Some(300.0)))?,
        sentence(|plan| plan.freeze = forecast(Some(114.0), None))?,
        sentence(|plan| plan.freeze.measured = false)?,
        sentence(|plan| plan.steps.truncate(3))?,
    ];
    insta::assert_snapshot!(told.join("\n").replace(
        " The source is kept until you run `kubectl migrate cleanup orders-db --old-data`.",
        ""
    ), @"
    Expected freeze: not known before the warm rounds (spec.freeze.max or --max-freeze bounds it).
    Expected freeze: about 1m54s, as the warm rounds measured (allowed 5m).
    Expected freeze: about 1m54s, as the warm rounds measured.
    Expected freeze: not known, because no warm round is made to measure it (allowed 5m).
    Writes stay stopped until `kubectl migrate rollback orders-db` puts everything back.
    ");
    Ok(())
}
