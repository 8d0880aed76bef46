//! An error as people read it.

use super::answer::in_words;
use std::error::Error;

/// Returns an error with its causes on one line, for Events, the log and people: `cannot make /x:
/// no room`. A cause that the text has already is left out: errors of `kube`, among others, write
/// the text of their cause and return the cause as their source, too. An answer of the API server
/// is replaced by its message ([`in_words`]).
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let text = causes.map(ToString::to_string).fold(error.to_string(), |text, cause| {
        match text.starts_with(&cause) || text.contains(&format!(": {cause}")) {
            true => text,
            false => format!("{text}: {cause}"),
        }
    });
    in_words(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;

    /// What was tried, and why it failed.
    #[derive(Debug)]
    struct Failed(&'static str, Option<Box<Failed>>);

    impl fmt::Display for Failed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Failed {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_ref().map(|cause| &**cause as &(dyn Error + 'static))
        }
    }

    /// "cannot make /x" alone does not say what the user can do.
    #[test]
    fn an_error_is_written_with_all_its_causes() {
        let full = Failed("the disk is full", None);
        assert_eq!(chain(&full), "the disk is full");
        let written = Failed("cannot write /x/y", Some(full.into()));
        let made = Failed("cannot make /x", Some(written.into()));
        assert_eq!(chain(&made), "cannot make /x: cannot write /x/y: the disk is full");
    }

    #[test]
    fn a_cause_that_the_text_has_already_is_written_once() {
        let full = Failed("the disk is full", None);
        let written = Failed("cannot write /x/y: the disk is full", Some(full.into()));
        let made = Failed("cannot make /x", Some(written.into()));
        assert_eq!(chain(&made), "cannot make /x: cannot write /x/y: the disk is full");
        let whole = Failed("full (code 7)", Some(Failed("full", None).into()));
        assert_eq!(chain(&whole), "full (code 7)");
        let path = Failed("cannot make /full", Some(Failed("full", None).into()));
        assert_eq!(chain(&path), "cannot make /full: full", "a name is no cause");
    }

    /// As `kube` writes a refusal: its text has the reason, then the whole answer as Rust code.
    #[test]
    fn of_a_refusal_of_the_api_server_the_message_is_left() {
        let whole = r#"ApiError: no right: Forbidden (Status { status: Some(Failure), code: 403, message: "no right", reason: "Forbidden" })"#;
        let refused = Failed(whole, Some(Failed("no right: Forbidden", None).into()));
        assert_eq!(chain(&refused), "ApiError: no right: Forbidden");
    }
}
