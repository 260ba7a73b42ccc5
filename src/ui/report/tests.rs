use serde_json::json;

use crate::{
    engine::{Entry, Record},
    report::{
        Report, Seen,
        sample::{all, at, entries, header, then},
    },
    ui::{Format, FormatError, Ui, look::columns},
};

fn shown(
    width: u16,
    terminal: bool,
    format: Format,
    entries: &[Entry],
) -> Result<String, FormatError> {
    let report = Report::of(&header(), entries, &Seen::at(at(1000), false));
    let (ui, written) = Ui::for_test(width, terminal);
    ui.report(format, &report)?;
    Ok(written.out())
}

#[test]
fn a_report_in_a_pipe_is_whole() -> anyhow::Result<()> {
    insta::assert_snapshot!(shown(80, false, Format::Table, &all())?, @"
    Migration shop/orders-db (statefulset): done
      begun:       2025-11-21 02:00:00Z
      last change: 2025-11-21 02:15:00Z
      by:          kubectl-migrate 0.1.0, run r1
      cluster:     8f0c
      frozen:      2m36s (2025-11-21 02:06:40Z to 2025-11-21 02:09:16Z), 2m25s were expected
      compared by: kubectl-migrate 0.1.0
      mover image: localhost/kubectl-migrate:0.1.0, localhost/kubectl-migrate@sha256:2c26b46b68ffc68ff99b453c1d304134

    Notes
    hand-over marked: dns switched, ticket 4711
    final-copy declined: shop/data-orders-db-0 went by way `client`: no route to host

    Steps
    #  STEP          STATE   STARTED               ENDED                 TRIES   TOOK
    1  preflight     done    2025-11-21 02:00:00Z  2025-11-21 02:00:04Z      1     4s
    2  warm-copy     done    2025-11-21 02:00:05Z  2025-11-21 02:06:15Z      1  6m10s
    3  freeze        done    2025-11-21 02:06:40Z  2025-11-21 02:07:00Z      1    20s
    4  final-copy    done    2025-11-21 02:07:01Z  2025-11-21 02:07:54Z      2    23s
    5  verify        done    2025-11-21 02:07:55Z  2025-11-21 02:08:50Z      1    55s
    6  start-target  done    2025-11-21 02:08:51Z  2025-11-21 02:09:16Z      1    25s
    7  hand-over     marked  2025-11-21 02:09:17Z  2025-11-21 02:15:00Z      1     1s

    Copied
    STEP        SOURCE                 TARGET                 ROUNDS  FILES     BYTES      SENT   TOOK      RATE  LIMITED BY        WAY
    warm-copy   shop/data-orders-db-0  shop/data-orders-db-0       2  1 834  14.0 GiB  14.0 GiB  1m12s  210 MB/s  source disk 71 %  direct
    final-copy  shop/data-orders-db-0  shop/data-orders-db-0       1  1 834  14.0 GiB   1.2 GiB  1m12s   18 MB/s  network 71 %      client

    Compared
    SOURCE                 TARGET                 FILES  DIRECTORIES  LINKS     BYTES  DIFFERENCES  SOURCE DIGEST                     TARGET DIGEST                         RATE  LIMITED BY
    shop/data-orders-db-0  shop/data-orders-db-0  1 834          212      7  14.0 GiB            0  9b74c9897bac770ffc029102a200c5de  9b74c9897bac770ffc029102a200c5de  367 MB/s  target disk 83 %

    Findings
    STEP        VOLUME                 FOUND               TIMES  EXAMPLES
    warm-copy   shop/data-orders-db-0  socket, not copied      1  run/db|x.sock
    final-copy  shop/data-orders-db-0  socket, not copied      1  run/db|x.sock

    Runners
    RUNNER  SINCE                 ENTRIES
         1  2025-11-21 02:00:00Z        8
         2  2025-11-21 02:07:40Z        9
    ");
    Ok(())
}

#[test]
fn a_report_fits_the_terminal() -> anyhow::Result<()> {
    insta::assert_snapshot!(shown(80, true, Format::Table, &all())?, @"
    Migration shop/orders-db (statefulset): done
      begun:       2025-11-21 02:00:00Z
      last change: 2025-11-21 02:15:00Z
      by:          kubectl-migrate 0.1.0, run r1
      cluster:     8f0c
      frozen:      2m36s (2025-11-21 02:06:40Z to 2025-11-21 02:09:16Z), 2m25s were expected
      compared by: kubectl-migrate 0.1.0
      mover image: localhost/kubectl-migrate:0.1.0, localhost/kubectl-migrate@sha256:2c26b46b68ffc68ff99b453c1d304134

    Notes
    hand-over marked: dns switched, ticket 4711
    final-copy declined: shop/data-orders-db-0 went by way `client`: no route to host

    Steps
    #  STEP         STATE   STARTED               ENDED                 TRIES   TOOK
    1  preflight    done    2025-11-21 02:00:00Z  2025-11-21 02:00:04Z      1     4s
    2  warm-copy    done    2025-11-21 02:00:05Z  2025-11-21 02:06:15Z      1  6m10s
    3  freeze       done    2025-11-21 02:06:40Z  2025-11-21 02:07:00Z      1    20s
    4  final-copy   done    2025-11-21 02:07:01Z  2025-11-21 02:07:54Z      2    23s
    5  verify       done    2025-11-21 02:07:55Z  2025-11-21 02:08:50Z      1    55s
    6  start-targ…  done    2025-11-21 02:08:51Z  2025-11-21 02:09:16Z      1    25s
    7  hand-over    marked  2025-11-21 02:09:17Z  2025-11-21 02:15:00Z      1     1s

    Copied
    STEP        SOURCE        TARGET        ROUNDS  FILES     BYTES      SENT   TOOK
    warm-copy   shop/data-o…  shop/data-o…       2  1 834  14.0 GiB  14.0 GiB  1m12s
    final-copy  shop/data-o…  shop/data-o…       1  1 834  14.0 GiB   1.2 GiB  1m12s

    Compared
    SOURCE           TARGET           FILES     BYTES  DIFFERENCES  SOURCE DIGEST
    shop/data-orde…  shop/data-orde…  1 834  14.0 GiB            0  9b74c9897bac770…

    Findings
    STEP        VOLUME                 FOUND               TIMES  EXAMPLES
    warm-copy   shop/data-orders-db-0  socket, not copied      1  run/db|x.sock
    final-copy  shop/data-orders-db-0  socket, not copied      1  run/db|x.sock

    Runners
    RUNNER  SINCE                 ENTRIES
         1  2025-11-21 02:00:00Z        8
         2  2025-11-21 02:07:40Z        9
    ");
    insta::assert_snapshot!(shown(40, true, Format::Table, &entries(8))?, @"
    Migration shop/orders-db (statefulset): failed
      begun:       2025-11-21 02:00:00Z
      last change: 2025-11-21 02:07:10Z
      by:          kubectl-migrate 0.1.0, run r1
      cluster:     8f0c
      frozen:      10m (since 2025-11-21 02:06:40Z), 2m25s were expected
      at:          step 4/7 final-copy

    Notes
    final-copy failed: pod shop/orders-db-1 was evicted
    final-copy evidence: node-pressure eviction on node worker-3 (ephemeral-storage), 02:14:09

    Steps
    #  STEP          STATE     TOOK
    1  preflight     done        4s
    2  warm-copy     done     6m10s
    3  freeze        done       20s
    4  final-copy    failed      9s
    5  verify        pending      –
    6  start-target  pending      –
    7  hand-over     pending      –

    Copied
    STEP      SOURCE         BYTES      SENT
    warm-co…  shop/data…  14.0 GiB  14.0 GiB

    Findings
    VOLUME           FOUND             TIMES
    shop/data-orde…  socket, not cop…      1
    ");
    for line in shown(120, true, Format::Table, &all())?.lines() {
        assert!(columns(line) <= 120, "{line}");
    }
    Ok(())
}

#[test]
fn a_report_in_markdown_obeys_nothing_that_it_quotes() -> anyhow::Result<()> {
    insta::assert_snapshot!(shown(80, true, Format::Markdown, &all())?, @r"
    # Migration shop/orders-db (statefulset): done

    - begun: 2025-11-21 02:00:00Z
    - last change: 2025-11-21 02:15:00Z
    - by: kubectl-migrate 0.1.0, run r1
    - cluster: 8f0c
    - frozen: 2m36s (2025-11-21 02:06:40Z to 2025-11-21 02:09:16Z), 2m25s were expected
    - compared by: kubectl-migrate 0.1.0
    - mover image: localhost/kubectl-migrate:0.1.0, localhost/kubectl-migrate@sha256:2c26b46b68ffc68ff99b453c1d304134

    ## Notes

    - **hand-over** marked: dns switched, ticket 4711
    - **final-copy** declined: shop/data-orders-db-0 went by way \`client\`: no route to host

    ## Steps

    | # | STEP | STATE | STARTED | ENDED | TRIES | TOOK |
    | ---: | --- | --- | --- | --- | ---: | ---: |
    | 1 | preflight | done | 2025-11-21 02:00:00Z | 2025-11-21 02:00:04Z | 1 | 4s |
    | 2 | warm-copy | done | 2025-11-21 02:00:05Z | 2025-11-21 02:06:15Z | 1 | 6m10s |
    | 3 | freeze | done | 2025-11-21 02:06:40Z | 2025-11-21 02:07:00Z | 1 | 20s |
    | 4 | final-copy | done | 2025-11-21 02:07:01Z | 2025-11-21 02:07:54Z | 2 | 23s |
    | 5 | verify | done | 2025-11-21 02:07:55Z | 2025-11-21 02:08:50Z | 1 | 55s |
    | 6 | start-target | done | 2025-11-21 02:08:51Z | 2025-11-21 02:09:16Z | 1 | 25s |
    | 7 | hand-over | marked | 2025-11-21 02:09:17Z | 2025-11-21 02:15:00Z | 1 | 1s |

    ## Copied

    | STEP | SOURCE | TARGET | ROUNDS | FILES | BYTES | SENT | TOOK | RATE | LIMITED BY | WAY |
    | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |
    | warm-copy | shop/data-orders-db-0 | shop/data-orders-db-0 | 2 | 1 834 | 14.0 GiB | 14.0 GiB | 1m12s | 210 MB/s | source disk 71 % | direct |
    | final-copy | shop/data-orders-db-0 | shop/data-orders-db-0 | 1 | 1 834 | 14.0 GiB | 1.2 GiB | 1m12s | 18 MB/s | network 71 % | client |

    ## Compared

    | SOURCE | TARGET | FILES | DIRECTORIES | LINKS | BYTES | DIFFERENCES | SOURCE DIGEST | TARGET DIGEST | RATE | LIMITED BY |
    | --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- | ---: | --- |
    | shop/data-orders-db-0 | shop/data-orders-db-0 | 1 834 | 212 | 7 | 14.0 GiB | 0 | 9b74c9897bac770ffc029102a200c5de | 9b74c9897bac770ffc029102a200c5de | 367 MB/s | target disk 83 % |

    ## Findings

    | STEP | VOLUME | FOUND | TIMES | EXAMPLES |
    | --- | --- | --- | ---: | --- |
    | warm-copy | shop/data-orders-db-0 | socket, not copied | 1 | run/db\|x.sock |
    | final-copy | shop/data-orders-db-0 | socket, not copied | 1 | run/db\|x.sock |

    ## Runners

    | RUNNER | SINCE | ENTRIES |
    | ---: | --- | ---: |
    | 1 | 2025-11-21 02:00:00Z | 8 |
    | 2 | 2025-11-21 02:07:40Z | 9 |
    ");
    Ok(())
}

#[test]
fn a_report_in_html_is_one_page_that_needs_nothing_else() -> anyhow::Result<()> {
    let mut entries = all();
    if let Some(entry) = entries.last_mut() {
        entry.record = crate::engine::Record::Marked("<script>alert(1)</script>".to_owned());
    }
    let page = shown(80, true, Format::Html, &entries)?;
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script"));
    assert!(
        !page.contains("http") && !page.contains("src="),
        "it fetches something"
    );
    // 400 s to 556 s of 900 s.
    assert!(
        page.contains("<i class=\"frozen\" style=\"left:44.44%;width:17.33%\">"),
        "{page}"
    );
    for tag in ["table", "tr", "td", "th", "div", "span", "h2", "i"] {
        let opened =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    Ok(())
}

#[test]
fn json_and_yaml_say_the_same() -> anyhow::Result<()> {
    let json: serde_json::Value = serde_json::from_str(&shown(80, true, Format::Json, &all())?)?;
    let yaml: serde_json::Value = serde_yaml::from_str(&shown(80, true, Format::Yaml, &all())?)?;
    assert_eq!(json, yaml);
    let keys: Vec<_> = json
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect();
    // This list is a promise: it may grow.
    insta::assert_snapshot!(keys.join(" "), @"apiVersion kind name namespace cluster playbook tool run created updated seen state current frozen steps runners findings outputs");
    assert_eq!(json["frozen"]["seconds"], 156.0);
    assert_eq!(json["outputs"]["verify"]["level"], "content");
    Ok(())
}

#[test]
fn a_receipt_that_was_read_again_tells_which_side_changed_and_who_uses_it() -> anyhow::Result<()> {
    let volume = json!({
        "source": "shop/data-orders-db-0", "target": "shop/data-orders-db-0", "source_digest": "9b74",
        "target_digest": "1f2e", "source_equal": true, "target_equal": false,
        "target_used_by": "pod shop/orders-db-0", "differences": 3,
    });
    let read = [
        (910, "receipt", Record::Started),
        (950, "receipt", Record::Done(json!({"volumes": [volume]}))),
    ];
    let told = shown(80, false, Format::Table, &then(all(), read.to_vec()))?;
    let fact = told.lines().find(|line| line.contains("read again:"));
    let table = told
        .lines()
        .skip_while(|line| *line != "Read again")
        .take(3);
    let lines: Vec<_> = fact.into_iter().chain(table).collect();
    insta::assert_snapshot!(lines.join("\n"));
    // What was verified anew since has not been read again.
    let broken = Record::Broken("another run".to_owned());
    let anew = [(960, "verify", broken), (961, "verify", Record::Started)];
    let entries = then(then(all(), read.to_vec()), anew.to_vec());
    assert!(!shown(80, false, Format::Table, &entries)?.contains("Read again"));
    Ok(())
}

#[test]
fn what_was_compared_before_writes_stopped_has_a_column_where_there_is_any() -> anyhow::Result<()> {
    let volume = json!({
        "source": "data", "target": "new-data", "files": 1834, "bytes": 15_032_385_536_u64, "source_digest": "9b74",
        "target_digest": "9b74", "differences": 0, "seconds": 2.0,
        "compared_before": {"files": 1800, "bytes": 14_900_000_000_u64},
    });
    let entries = then(
        all(),
        vec![
            (905, "verify", Record::Broken("another run".to_owned())),
            (910, "verify", Record::Started),
            (950, "verify", Record::Done(json!({"volumes": [volume]}))),
        ],
    );
    let compared = |entries: &[Entry]| -> anyhow::Result<String> {
        let told = shown(120, false, Format::Table, entries)?;
        let table = told.lines().skip_while(|line| *line != "Compared");
        Ok(table.take(3).collect::<Vec<_>>().join("\n"))
    };
    insta::assert_snapshot!(compared(&entries)?);
    assert!(!compared(&all())?.contains("COMPARED BEFORE"));
    Ok(())
}
