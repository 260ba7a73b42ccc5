use std::io;

use super::{Ui, visible::visible};

/// Why nobody said yes.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// Nobody can be asked, and no flag answers.
    #[error(
        "{what}, which cannot be undone, and nobody is here to confirm it: add `--confirm {name}`"
    )]
    Unconfirmed {
        /// What would be done.
        what: String,
        /// The name that stands for yes.
        name: String,
    },
    /// The flag or the answer names something else.
    #[error("nothing was changed: `{given}` was given to confirm, and the name is `{name}`")]
    OtherName {
        /// What was given.
        given: String,
        /// The name that stands for yes.
        name: String,
    },
    /// Nobody can be asked, and `-y` is not given.
    #[error("nobody is here to answer `{question}`: add `-y` for yes")]
    Unanswered {
        /// The question.
        question: String,
    },
    /// The answer was no.
    #[error("nothing was changed: the answer was no")]
    Declined,
    /// The question was interrupted.
    #[error("nothing was changed: the question was interrupted")]
    Interrupted,
    /// The terminal failed.
    #[error("failed to ask on the terminal")]
    Terminal(#[source] io::Error),
}

impl Ui {
    /// Asks for the name of what cannot be undone, typed in full. `--confirm` answers in scripts; `-y` does
    /// not. `what` says what is done: `this deletes the source of orders-db`.
    pub fn confirm_irreversible(&self, what: &str, name: &str) -> Result<(), PromptError> {
        self.typed(what, name, |prompt| {
            self.apart(|| {
                dialoguer::Input::<String>::new()
                    .with_prompt(prompt)
                    .allow_empty(true)
                    .interact_text()
            })
        })
    }

    /// Asks a question that is answered with yes or no; no, unless the answer is yes. `-y` answers.
    pub fn confirm(&self, question: &str) -> Result<bool, PromptError> {
        self.yes_or_no(question, |prompt| {
            self.apart(|| {
                dialoguer::Confirm::new()
                    .with_prompt(prompt)
                    .default(false)
                    .interact()
            })
        })
    }

    /// Whether a question is asked at all: somebody is here to answer, and `-y` has not.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.answers && !self.options().yes
    }

    /// Asks whether to go on with what hurts and can be put back, but only where somebody is here to
    /// answer and `-y` has not: a script said yes when it called.
    pub fn consent(&self, question: &str) -> Result<(), PromptError> {
        self.consented(|| self.confirm(question))
    }

    fn consented(
        &self,
        ask: impl FnOnce() -> Result<bool, PromptError>,
    ) -> Result<(), PromptError> {
        if !self.answers || ask()? {
            Ok(())
        } else {
            Err(PromptError::Declined)
        }
    }

    fn typed(
        &self,
        what: &str,
        name: &str,
        ask: impl FnOnce(String) -> dialoguer::Result<String>,
    ) -> Result<(), PromptError> {
        let given = match &self.options().confirm {
            Some(given) => given.clone(),
            None if self.answers => {
                self.tell(&format!("{}, which cannot be undone.", visible(what)));
                ask(format!("Type {} to go on", visible(name))).map_err(failed)?
            }
            None => {
                return Err(PromptError::Unconfirmed {
                    what: what.to_owned(),
                    name: name.to_owned(),
                });
            }
        };
        if given.trim() == name {
            return Ok(());
        }
        Err(PromptError::OtherName {
            given,
            name: name.to_owned(),
        })
    }

    fn yes_or_no(
        &self,
        question: &str,
        ask: impl FnOnce(String) -> dialoguer::Result<bool>,
    ) -> Result<bool, PromptError> {
        if self.options().yes {
            return Ok(true);
        }
        if self.answers {
            return ask(visible(question).into_owned()).map_err(failed);
        }
        Err(PromptError::Unanswered {
            question: question.to_owned(),
        })
    }
}

fn failed(dialoguer::Error::IO(error): dialoguer::Error) -> PromptError {
    match error.kind() {
        io::ErrorKind::Interrupted => PromptError::Interrupted,
        _ => PromptError::Terminal(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Options;

    const WHAT: &str = "this deletes the source of orders-db";

    fn never<T>(prompt: String) -> dialoguer::Result<T> {
        Err(io::Error::other(prompt).into())
    }

    fn ui(terminal: bool, yes: bool, confirm: Option<&str>) -> (Ui, super::super::Written) {
        let options = Options {
            yes,
            confirm: confirm.map(str::to_owned),
            ..Options::default()
        };
        Ui::for_test_with(80, terminal, false, options)
    }

    #[test]
    fn the_irreversible_wants_its_name_typed() {
        let (ui, written) = ui(true, true, None);
        let typed = |answer: &str| {
            ui.typed(WHAT, "orders-db", |prompt| {
                assert_eq!(prompt, "Type orders-db to go on");
                Ok(answer.to_owned())
            })
        };
        assert!(typed("orders-db ").is_ok());
        for other in ["y", "yes", "", "orders", "ORDERS-DB"] {
            assert!(
                matches!(typed(other), Err(PromptError::OtherName { .. })),
                "{other}"
            );
        }
        assert!(
            written
                .err()
                .starts_with("this deletes the source of orders-db, which cannot be undone.\n")
        );
        assert_eq!(written.out(), "");
    }

    #[test]
    fn a_script_must_name_it_in_a_flag() {
        for terminal in [true, false] {
            let (named, _) = ui(terminal, false, Some("orders-db"));
            assert!(named.typed(WHAT, "orders-db", never).is_ok());
            let (other, _) = ui(terminal, false, Some("orders"));
            let error = other
                .typed(WHAT, "orders-db", never)
                .map_err(|error| error.to_string());
            assert_eq!(
                error,
                Err("nothing was changed: `orders` was given to confirm, and the name is `orders-db`".to_owned())
            );
        }
        let (unnamed, _) = ui(false, true, None);
        assert_eq!(
            unnamed.confirm_irreversible(WHAT, "orders-db").map_err(|error| error.to_string()),
            Err("this deletes the source of orders-db, which cannot be undone, and nobody is here to confirm \
                 it: add `--confirm orders-db`"
                .to_owned())
        );
    }

    #[test]
    fn the_harmless_is_asked_once_and_a_flag_answers() {
        let (asked, _) = ui(true, false, None);
        for answer in [true, false] {
            assert!(
                matches!(asked.yes_or_no("Go on?", |_| Ok(answer)), Ok(given) if given == answer)
            );
        }
        let (flag, _) = ui(false, true, None);
        assert!(matches!(flag.yes_or_no("Go on?", never), Ok(true)));
        let (nobody, _) = ui(false, false, None);
        assert_eq!(
            nobody.confirm("Go on?").map_err(|error| error.to_string()),
            Err("nobody is here to answer `Go on?`: add `-y` for yes".to_owned())
        );
    }

    #[test]
    fn consent_is_asked_of_a_person_only() {
        let (nobody, _) = ui(false, false, None);
        let never_asked = || Err(PromptError::Interrupted);
        assert!(nobody.consented(never_asked).is_ok());
        let (flag, _) = ui(true, true, None);
        assert!(flag.consent("Go on?").is_ok());
        let (asked, _) = ui(true, false, None);
        assert!(asked.consented(|| Ok(true)).is_ok());
        assert!(matches!(
            asked.consented(|| Ok(false)),
            Err(PromptError::Declined)
        ));
    }

    #[test]
    fn an_interrupted_question_changes_nothing() {
        let (asked, _) = ui(true, false, None);
        let interrupted = asked.yes_or_no("Go on?", |_| {
            Err(io::Error::from(io::ErrorKind::Interrupted).into())
        });
        assert!(matches!(interrupted, Err(PromptError::Interrupted)));
        assert!(matches!(
            asked.yes_or_no("Go on?", never),
            Err(PromptError::Terminal(_))
        ));
    }
}
