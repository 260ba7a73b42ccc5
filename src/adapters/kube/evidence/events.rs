//! The events of one object: each said once, the newest last.
use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::Api;

use super::{
    super::{Cluster, Selector, list_all},
    EVENTS, short,
};

/// The last events of an object, one line each.
pub(super) async fn of(cluster: &Cluster, namespace: &str, kind: &str, name: &str) -> Vec<String> {
    let api: Api<Event> = cluster.namespaced(namespace);
    let selector = Selector::fields(format!(
        "involvedObject.kind={kind},involvedObject.name={name}"
    ));
    match list_all(&api, &selector).await {
        Ok(events) => lines(name, &events),
        Err(error) => vec![format!(
            "the events of {kind} {namespace}/{name} cannot be read: {error}"
        )],
    }
}

fn lines(name: &str, events: &[Event]) -> Vec<String> {
    // The same event is often stored anew by every retry of its source.
    let mut told: HashMap<String, (Option<Timestamp>, i32)> = HashMap::new();
    for event in events {
        let kind = event.type_.as_deref().unwrap_or("Normal");
        let reason = event.reason.as_deref().unwrap_or("Unknown");
        let text = format!(
            "event {kind} {reason}: {}",
            without_suffixes(name, &short(event.message.as_deref().unwrap_or_default()))
        );
        let (newest, count) = told.entry(text).or_default();
        *newest = (*newest).max(time(event));
        *count += times(event);
    }
    let mut told: Vec<_> = told.into_iter().collect();
    told.sort_by(|(text, (time, _)), (other, (other_time, _))| {
        (time, text).cmp(&(other_time, other))
    });
    let hidden = told.len().saturating_sub(EVENTS);
    told.into_iter()
        .skip(hidden)
        .map(|(text, (_, count))| {
            if count > 1 {
                format!("{text} ({count} times)")
            } else {
                text
            }
        })
        .collect()
}

/// A controller tries again under another random name: `"copy-x7f2k"` becomes `"copy-…"`.
fn without_suffixes(name: &str, message: &str) -> String {
    let made = format!("\"{name}-");
    let mut parts = message.split(made.as_str());
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric());
        text.push_str(&made);
        text.push_str(if rest.starts_with('"') {
            "…"
        } else {
            &part[..part.len() - rest.len()]
        });
        text.push_str(rest);
    }
    text
}

/// Old events carry `lastTimestamp`, new ones `eventTime` or a series.
fn time(event: &Event) -> Option<Timestamp> {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref())
        .map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let once = event.event_time.as_ref().map(|time| time.0);
    let made = event
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|time| time.0);
    series.or(last).or(once).or(made)
}

fn times(event: &Event) -> i32 {
    event
        .series
        .as_ref()
        .and_then(|series| series.count)
        .or(event.count)
        .unwrap_or(1)
}
