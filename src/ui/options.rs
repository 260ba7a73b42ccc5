use std::env;

/// What the user asked for with flags.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Options {
    /// How the program is shown in commands: `kubectl migrate`, or the binary's own name.
    pub program: String,
    /// `--no-color`.
    pub no_color: bool,
    /// `-q`: nothing on stderr but failures.
    pub quiet: bool,
    /// `-y`: yes to the harmless questions.
    pub yes: bool,
    /// `-v`: passes are shown in full, too.
    pub verbose: bool,
    /// `--confirm NAME`: the name that stands for typing it.
    pub confirm: Option<String>,
}

impl Options {
    /// No flags: of a program that has not read its command line.
    #[must_use]
    pub fn of(program: &str) -> Self {
        Self {
            program: program.to_owned(),
            ..Self::default()
        }
    }
}

/// What the environment says about screens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `NO_COLOR` is set and not empty (no-color.org).
    pub no_color: bool,
    /// `CLICOLOR_FORCE` is set, not empty and not `0` (bixense.com/clicolors).
    pub force_color: bool,
    /// `TERM` is `dumb`: neither colours nor a cursor that moves.
    pub dumb: bool,
    /// `COLUMNS`, for a terminal that does not tell its width.
    pub columns: Option<u16>,
}

impl Environment {
    /// Of this process.
    #[must_use]
    pub fn read() -> Self {
        Self::from(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn from(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self {
            no_color: given("NO_COLOR").is_some(),
            force_color: given("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
            dumb: given("TERM").is_some_and(|value| value == "dumb"),
            columns: given("COLUMNS")
                .and_then(|value| value.parse().ok())
                .filter(|columns| *columns > 0),
        }
    }

    /// Whether a stream gets colours. A flag is stronger than the environment, and "no" than "force".
    #[must_use]
    pub fn color(&self, options: &Options, terminal: bool) -> bool {
        if options.no_color || self.no_color {
            return false;
        }
        self.force_color || (terminal && !self.dumb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(set: &[(&str, &str)]) -> Environment {
        Environment::from(|name| {
            set.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn colour_follows_flag_then_environment_then_stream() {
        let plain = Options::default();
        let flag = Options {
            no_color: true,
            ..Options::default()
        };
        for (set, options, terminal, expected) in [
            (&[][..], &plain, true, true),
            (&[], &plain, false, false),
            (&[("NO_COLOR", "1")], &plain, true, false),
            (&[("NO_COLOR", "")], &plain, true, true),
            (&[("CLICOLOR_FORCE", "1")], &plain, false, true),
            (&[("CLICOLOR_FORCE", "0")], &plain, false, false),
            (
                &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")],
                &plain,
                true,
                false,
            ),
            (&[("CLICOLOR_FORCE", "1")], &flag, true, false),
            (&[("TERM", "dumb")], &plain, true, false),
            (&[("TERM", "xterm")], &plain, true, true),
        ] {
            assert_eq!(
                environment(set).color(options, terminal),
                expected,
                "{set:?}"
            );
        }
    }

    #[test]
    fn columns_that_are_no_number_are_not_believed() {
        assert_eq!(environment(&[("COLUMNS", "120")]).columns, Some(120));
        for value in ["", "0", "wide", "-1", "99999999"] {
            assert_eq!(environment(&[("COLUMNS", value)]).columns, None, "{value}");
        }
    }
}
