use super::*;

fn found(worst: Verdict) -> PreflightView {
    let mut checks = vec![
        (
            "freeze".to_owned(),
            Check::pass("permissions", "namespace shop", "all 12 rights are granted"),
        ),
        (
            "warm-copy".to_owned(),
            Check::pass(
                "free space",
                "storageclass fast",
                "42.1 GiB needed, 100 GiB allowed",
            ),
        ),
    ];
    if worst >= Verdict::Warn {
        checks.push((
            "freeze".to_owned(),
            Check::warn(
                "autoscaler",
                "statefulset shop/orders-db",
                "hpa shop/orders-db scales it back up within 15s",
                "it is paused while the freeze is on",
            ),
        ));
    }
    if worst == Verdict::Block {
        checks.push((
            "warm-copy".to_owned(),
            Check::block(
                "target volumes",
                "pvc shop/data-orders-db-0",
                "it exists on prod-eu and is bound",
                "delete it, or set target.namespace to another one\nkubectl --context prod-eu delete pvc data-orders-db-0",
            ),
        ));
    }
    PreflightView::new(("shop", "orders-db"), checks)
}

fn shown(width: u16, terminal: bool, format: Format, worst: Verdict) -> anyhow::Result<String> {
    let (ui, written) = Ui::for_test(width, terminal);
    ui.preflight(format, &found(worst))?;
    Ok(written.out())
}

#[test]
fn every_check_is_a_row_and_what_needs_a_look_is_told_in_full() -> anyhow::Result<()> {
    insta::assert_snapshot!(shown(80, false, Format::Table, Verdict::Block)?, @"
    CHECK           OBJECT                      VERDICT  STEP       FOUND
    target volumes  pvc shop/data-orders-db-0   block    warm-copy  it exists on prod-eu and is bound
    autoscaler      statefulset shop/orders-db  warn     freeze     hpa shop/orders-db scales it back up within 15s
    permissions     namespace shop              pass     freeze     all 12 rights are granted
    free space      storageclass fast           pass     warm-copy  42.1 GiB needed, 100 GiB allowed

    block: target volumes on pvc shop/data-orders-db-0
      found:  it exists on prod-eu and is bound
      do:     delete it, or set target.namespace to another one
              kubectl --context prod-eu delete pvc data-orders-db-0
    warn: autoscaler on statefulset shop/orders-db
      found:  hpa shop/orders-db scales it back up within 15s
      do:     it is paused while the freeze is on

    4 checks: 2 passed, 1 warning, 1 blocker. It cannot begin: solve the blocker first.
    ");
    insta::assert_snapshot!(shown(80, false, Format::Table, Verdict::Warn)?, @"
    CHECK        OBJECT                      VERDICT  STEP       FOUND
    autoscaler   statefulset shop/orders-db  warn     freeze     hpa shop/orders-db scales it back up within 15s
    permissions  namespace shop              pass     freeze     all 12 rights are granted
    free space   storageclass fast           pass     warm-copy  42.1 GiB needed, 100 GiB allowed

    warn: autoscaler on statefulset shop/orders-db
      found:  hpa shop/orders-db scales it back up within 15s
      do:     it is paused while the freeze is on

    3 checks: 2 passed, 1 warning, 0 blockers. It can begin; read the warning first.
    ");
    insta::assert_snapshot!(shown(80, true, Format::Table, Verdict::Pass)?, @"
    CHECK        OBJECT             VERDICT  STEP       FOUND
    permissions  namespace shop     pass     freeze     all 12 rights are granted
    free space   storageclass fast  pass     warm-copy  42.1 GiB needed, 100 GiB al…

    2 checks: 2 passed, 0 warnings, 0 blockers. It can begin.
    ");
    Ok(())
}

#[test]
fn wide_cuts_nothing() -> anyhow::Result<()> {
    insta::assert_snapshot!(shown(80, true, Format::Wide, Verdict::Warn)?, @"
    CHECK        OBJECT                      VERDICT  STEP       FOUND
    autoscaler   statefulset shop/orders-db  warn     freeze     hpa shop/orders-db scales it back up within 15s
    permissions  namespace shop              pass     freeze     all 12 rights are granted
    free space   storageclass fast           pass     warm-copy  42.1 GiB needed, 100 GiB allowed

    warn: autoscaler on statefulset shop/orders-db
      found:  hpa shop/orders-db scales it back up within 15s
      do:     it is paused while the freeze is on

    3 checks: 2 passed, 1 warning, 0 blockers. It can begin; read the warning first.
    ");
    Ok(())
}

#[test]
fn a_narrow_terminal_still_shows_evidence_and_cure() -> anyhow::Result<()> {
    insta::assert_snapshot!(shown(40, true, Format::Table, Verdict::Block)?, @"
    CHECK           OBJECT           VERDICT
    target volumes  pvc shop/data-…  block
    autoscaler      statefulset sh…  warn
    permissions     namespace shop   pass
    free space      storageclass f…  pass

    block: target volumes on pvc shop/data-orders-db-0
      found:  it exists on prod-eu and is bound
      do:     delete it, or set target.namespace to another one
              kubectl --context prod-eu delete pvc data-orders-db-0
    warn: autoscaler on statefulset shop/orders-db
      found:  hpa shop/orders-db scales it back up within 15s
      do:     it is paused while the freeze is on

    4 checks: 2 passed, 1 warning, 1 blocker. It cannot begin: solve the blocker first.
    ");
    Ok(())
}

#[test]
fn json_has_every_check_and_the_worst_verdict() -> anyhow::Result<()> {
    let json: serde_json::Value =
        serde_json::from_str(&shown(80, true, Format::Json, Verdict::Block)?)?;
    assert_eq!(json["verdict"], "block");
    assert_eq!(json["checks"].as_array().map(Vec::len), Some(4));
    assert_eq!(json["checks"][0]["check"]["verdict"], "block");
    Ok(())
}
