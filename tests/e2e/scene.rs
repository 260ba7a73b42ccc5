//! What is to be seen in a test's namespaces when it fails: afterwards they are gone.
use std::{cell::RefCell, process::Command};

use super::support::On;

/// Lines of each kind that are enough to understand.
const LINES: usize = 40;

thread_local! {
    /// The namespaces of this thread's test.
    static PLACES: RefCell<Vec<(On, String)>> = const { RefCell::new(Vec::new()) };
}

/// A test has made a namespace.
pub fn enter(on: On, name: &str) {
    PLACES.with_borrow_mut(|places| places.push((on, name.to_owned())));
}

/// It is done with it.
pub fn leave(on: On, name: &str) {
    PLACES.with_borrow_mut(|places| places.retain(|(at, of)| (*at, of.as_str()) != (on, name)));
}

/// Objects, events, journals and the ends of the pods' logs in every namespace of this thread's test.
pub fn told() -> String {
    let places = PLACES.with_borrow(Clone::clone);
    let told = places.iter().map(|(on, name)| of(*on, name));
    told.collect::<Vec<_>>().join("\n")
}

fn of(on: On, name: &str) -> String {
    let journal = "jsonpath={range .items[*]}{.data.journal}{end}";
    let looks: [&[&str]; 4] = [
        &[
            "get",
            "statefulsets,deployments,jobs,pods,pvc,leases",
            "-o",
            "wide",
        ],
        &["get", "events", "--sort-by=.metadata.creationTimestamp"],
        &["get", "configmaps", "-o", journal],
        &[
            "logs",
            "--prefix",
            "--all-containers",
            "--tail=10",
            "-l",
            "kubectl-migrate/run",
        ],
    ];
    let mut text = format!("--- namespace {name} on cluster {}", on.letter());
    for look in looks {
        let said = output(on, name, look);
        let lines: Vec<_> = said.lines().collect();
        let last = &lines[lines.len().saturating_sub(LINES)..];
        text = format!(
            "{text}\n- kubectl {} {}\n{}",
            look[0],
            look[1],
            last.join("\n")
        );
    }
    text
}

/// Whatever it says, also when it fails.
fn output(on: On, name: &str, args: &[&str]) -> String {
    let Ok(kubeconfig) = on.kubeconfig() else {
        return String::new();
    };
    let mut kubectl = Command::new("kubectl");
    kubectl.args([
        "--kubeconfig",
        &kubeconfig,
        "-n",
        name,
        "--request-timeout=30s",
    ]);
    match kubectl.args(args).output() {
        Ok(output) => [output.stdout, output.stderr]
            .map(|said| String::from_utf8_lossy(&said).into_owned())
            .concat(),
        Err(error) => error.to_string(),
    }
}
