use super::{
    Look, Tone, Ui,
    look::columns,
    visible::{visible, visible_lines},
};
use crate::engine::{Failure, RunError};

/// How a command ends that did not do what was asked: what, why, what was seen, how things are, what next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// What went wrong: a lower-case fragment that names the object.
    pub message: String,
    /// Why, each the cause of the one before.
    pub causes: Vec<String>,
    /// What was seen, a line each.
    pub evidence: Vec<String>,
    /// How things are now: what is frozen, what is kept. Empty where nothing was touched.
    pub state: String,
    /// Commands that go on from here, with what they do.
    pub next: Vec<(String, String)>,
}

impl Ending {
    /// The message, causes and evidence of an error.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        let mut texts = error.chain().map(ToString::to_string);
        let evidence = match error.downcast_ref::<RunError>() {
            Some(RunError::Failed { evidence, .. }) => evidence.clone(),
            _ => Failure::evidence_of(error),
        };
        Self {
            message: texts.next().unwrap_or_default(),
            causes: texts.collect(),
            evidence,
            next: Failure::next_of(error),
            ..Self::default()
        }
    }

    /// The same with how things are now.
    #[must_use]
    pub fn with_state(mut self, state: impl Into<String>) -> Self {
        self.state = state.into();
        self
    }

    /// The same with one more command that goes on from here.
    #[must_use]
    pub fn with_next(mut self, command: impl Into<String>, what: impl Into<String>) -> Self {
        self.next.push((command.into(), what.into()));
        self
    }

    /// The message with each cause once: what a text before it says already is left out.
    fn sentence(&self) -> String {
        let mut sentence = self.message.clone();
        for cause in &self.causes {
            if !sentence.contains(cause.as_str()) {
                sentence = format!("{sentence}: {cause}");
            }
        }
        sentence
    }

    fn render(&self, look: Look) -> String {
        let mut lines = Vec::new();
        let sentence = visible_lines(&self.sentence()).replace('\n', "\n  ");
        lines.push(format!("{} {sentence}", look.paint(Tone::Bad, "error:")));
        let mut entry = |head: &str, text: &str| {
            let head = look.paint(Tone::Faint, format!("{head:<9}"));
            lines.push(format!("  {head} {text}").trim_end().to_owned());
        };
        for (at, seen) in self.evidence.iter().enumerate() {
            let text = visible_lines(seen.trim_end()).replace('\n', "\n            ");
            entry(if at == 0 { "evidence:" } else { "" }, &text);
        }
        if !self.state.is_empty() {
            entry("state:", &visible(&self.state));
        }
        let longest = self
            .next
            .iter()
            .map(|(command, _)| columns(&visible(command)))
            .max();
        for (at, (command, what)) in self.next.iter().enumerate() {
            let (command, what) = (visible(command), visible(what));
            let gap = " ".repeat(longest.unwrap_or(0) - columns(&command) + 3);
            let text = format!("{}{gap}{what}", look.paint(Tone::Strong, &command));
            entry(if at == 0 { "next:" } else { "" }, text.trim_end());
        }
        lines.join("\n")
    }
}

impl Ui {
    /// Shows how the command ended, on standard error, also with `-q`.
    pub fn ending(&self, ending: &Ending) {
        self.tell(&ending.render(self.err.look()));
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;
    use crate::{engine::Kind, ui::Options};

    fn evicted() -> Ending {
        let failure = Failure::new(
            Kind::Error,
            "pod shop/orders-db-1 was evicted while 1.1 GiB of 1.4 GiB were copied",
        );
        let seen = "node-pressure eviction on node worker-3 (ephemeral-storage), 02:14:09";
        let error = anyhow::Error::new(failure.with_evidence(vec![seen.to_owned()]))
            .context("step `final-copy` failed");
        Ending::of(&error)
            .with_state("the source is frozen since 1m12s and untouched; the copy is kept")
            .with_next(
                "kubectl migrate run orders-db",
                "goes on with the last 0.3 GiB",
            )
            .with_next(
                "kubectl migrate rollback orders-db",
                "wakes the source, about 20s",
            )
    }

    #[test]
    fn an_ending_tells_cause_evidence_state_and_what_to_do() {
        let (ui, written) = Ui::for_test(80, false);
        ui.ending(&evicted());
        insta::assert_snapshot!(written.err(), @"
        error: step `final-copy` failed: pod shop/orders-db-1 was evicted while 1.1 GiB of 1.4 GiB were copied
          evidence: node-pressure eviction on node worker-3 (ephemeral-storage), 02:14:09
          state:    the source is frozen since 1m12s and untouched; the copy is kept
          next:     kubectl migrate run orders-db        goes on with the last 0.3 GiB
                    kubectl migrate rollback orders-db   wakes the source, about 20s
        ");
        assert_eq!(written.out(), "");
    }

    #[test]
    fn an_ending_in_colour_says_the_same() {
        let (ui, written) = Ui::for_test_with(
            80,
            true,
            true,
            Options {
                quiet: true,
                ..Options::default()
            },
        );
        ui.ending(&evicted());
        insta::assert_snapshot!(written.err().replace('\x1b', "␛"), @"
        ␛[31merror:␛[0m step `final-copy` failed: pod shop/orders-db-1 was evicted while 1.1 GiB of 1.4 GiB were copied
          ␛[2mevidence:␛[0m node-pressure eviction on node worker-3 (ephemeral-storage), 02:14:09
          ␛[2mstate:   ␛[0m the source is frozen since 1m12s and untouched; the copy is kept
          ␛[2mnext:    ␛[0m ␛[1mkubectl migrate run orders-db␛[0m        goes on with the last 0.3 GiB
          ␛[2m         ␛[0m ␛[1mkubectl migrate rollback orders-db␛[0m   wakes the source, about 20s
        ");
    }

    #[test]
    fn a_cause_is_told_once_and_cannot_draw_on_the_terminal() {
        let error = anyhow!("no route to host\x1b[2J")
            .context("failed to reach the API server: no route to host\x1b[2J")
            .context("failed to read the journal");
        let (ui, written) = Ui::for_test(80, true);
        ui.ending(&Ending::of(&error));
        insta::assert_snapshot!(written.err(), @r"error: failed to read the journal: failed to reach the API server: no route to host\u{1b}[2J");
        let evidence = Failure::new(Kind::Error, "it ended")
            .with_evidence(vec!["one\ntwo\n".to_owned(), "three".to_owned()]);
        let (ui, written) = Ui::for_test(80, true);
        ui.ending(&Ending::of(
            &Err::<(), _>(evidence)
                .context("pod x failed")
                .expect_err("it is one"),
        ));
        insta::assert_snapshot!(written.err(), @"
        error: pod x failed: it ended
          evidence: one
                    two
                    three
        ");
    }
}
