//! What a migration is limited to: what its plan says at first, and what the verb `limit` has said since.
use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    engine::{Header, Sink},
    plan::Rate,
    state::Seen,
    steps::movers::Limit,
};

/// The version of a [`Wish`] as it is written.
const VERSION: u32 = 1;

/// What the verb writes where a run reads it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    version: u32,
    /// The run that it is for: what was wanted of an earlier migration of this name is not wanted of this one.
    run: String,
    /// None lifts the limit.
    limit: Option<Rate>,
}

/// What is written for the runs of a migration.
pub(super) fn written(run: &str, limit: Option<&Rate>) -> Result<String> {
    Ok(serde_json::to_string(&Wish {
        version: VERSION,
        run: run.to_owned(),
        limit: limit.cloned(),
    })?)
}

/// What a migration is limited to. Where what is written cannot be read, it is what the plan says.
pub(super) fn of(seen: &Seen) -> Option<Rate> {
    let plan = of_plan(&seen.header);
    wanted(seen.limit.as_deref(), &seen.header.run, plan.clone()).unwrap_or(plan)
}

fn of_plan(header: &Header) -> Option<Rate> {
    let text = header.plan.pointer("/spec/mover/limit")?.as_str()?;
    text.parse().ok()
}

fn wanted(
    text: Option<&str>,
    run: &str,
    plan: Option<Rate>,
) -> Result<Option<Rate>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Some(text) = text else { return Ok(plan) };
    // A newer one may have other fields, and is told by its number first.
    let Version { version } = serde_json::from_str(text)?;
    if version != VERSION {
        let why = format!("it is of version {version}, and this program knows {VERSION}");
        return Err(serde::de::Error::custom(why));
    }
    let wish: Wish = serde_json::from_str(text)?;
    Ok(if wish.run == run { wish.limit } else { plan })
}

/// Lets a run follow what is wanted of it, and tells each change.
pub(super) fn follow(
    limit: &Limit,
    mut texts: watch::Receiver<Option<String>>,
    header: &Header,
    sink: Sink,
) -> Follower {
    let (limit, run, plan) = (limit.clone(), header.run.clone(), of_plan(header));
    let take = move |text: Option<String>| match wanted(text.as_deref(), &run, plan.clone()) {
        Ok(rate) => {
            if limit.set(rate.as_ref().map(Rate::bytes_per_second)) {
                sink.notice(match rate {
                    Some(rate) => format!("copying is limited to {rate} now"),
                    None => "copying is not limited any more".to_owned(),
                });
            }
        }
        Err(error) => sink.notice(format!(
            "the limit that is wanted cannot be read, and nothing is changed: {error}"
        )),
    };
    let text = texts.borrow_and_update().clone();
    take(text);
    Follower(tokio::spawn(async move {
        while texts.changed().await.is_ok() {
            let text = texts.borrow_and_update().clone();
            take(text);
        }
    }))
}

/// Follows until it is dropped.
pub(super) struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::Event, report::sample};

    fn rate(text: &str) -> Rate {
        text.parse().expect(text)
    }

    fn header() -> Header {
        Header {
            plan: serde_json::json!({"spec": {"mover": {"limit": "8MiB/s"}}}),
            ..sample::header()
        }
    }

    #[test]
    fn the_verb_counts_more_than_the_plan_and_only_for_its_own_run() {
        let said = |run: &str, limit: Option<&str>| {
            let limit = limit.map(rate);
            written(run, limit.as_ref()).expect("a text")
        };
        let plan = Some(rate("8Mi"));
        for (text, limit) in [
            (None, &plan),
            (Some(said("r1", Some("20MB/s"))), &Some(rate("20M"))),
            (Some(said("r1", None)), &None),
            (Some(said("r0", None)), &plan),
        ] {
            let found = wanted(text.as_deref(), "r1", plan.clone()).expect("a limit");
            assert_eq!(found, *limit, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_strictly() {
        let refused = |text: &str| match wanted(Some(text), "r1", None) {
            Ok(limit) => format!("{text} is {limit:?}"),
            Err(error) => error.to_string(),
        };
        insta::assert_snapshot!(
            [
                refused(r#"{"version":2,"run":"r1","slower":true}"#),
                refused(r#"{"version":1,"run":"r1","limit":null,"more":1}"#),
                refused(r#"{"version":1,"run":"r1","limit":"fast"}"#),
                refused("8MiB/s"),
            ]
            .join("\n")
        );
    }

    #[tokio::test]
    async fn a_run_takes_over_what_is_wanted_and_tells_it() {
        let header = header();
        let limit = Limit::new(Some(8 << 20));
        let (sink, mut events, _) = Sink::new();
        let said = |limit: Option<&Rate>| written(&header.run, limit).expect("a text");
        let (wish, texts) = watch::channel(Some(said(Some(&rate("1MiB/s")))));
        let _follower = follow(&limit, texts, &header, sink);
        // Before anything is copied.
        assert_eq!(limit.whole(), Some(1 << 20));
        let mut next = async || match events.recv().await {
            Some(Event::Notice(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(next().await, "copying is limited to 1MiB/s now");
        wish.send_replace(Some(said(None)));
        assert_eq!(next().await, "copying is not limited any more");
        assert_eq!(limit.whole(), None);
        wish.send_replace(Some("{}".to_owned()));
        assert!(next().await.contains("cannot be read"));
        assert_eq!(limit.whole(), None);
        // Whoever takes it back leaves the plan's.
        wish.send_replace(None);
        assert_eq!(next().await, "copying is limited to 8MiB/s now");
    }
}
