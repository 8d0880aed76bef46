//! Expressions over the cluster's state: compiled with a lesson, evaluated against [`Facts`].
//!
//! An evaluation reads facts and nothing else, so it can be repeated, and tested without a cluster.
//! It has a limit (`budget`). What is not known yet (a kind that was not watched so far, an HTTP
//! request that has to be made first) is an error now and is noted in [`Facts::wanted`]; the caller
//! sees to it and evaluates again.

mod acts;
mod budget;
pub(crate) mod call;
mod callable;
mod change;
mod commands;
mod compare;
mod compile;
mod covers;
pub(crate) mod define;
mod error;
mod expr;
pub(crate) mod facts;
mod functions;
mod kubectl_calls;
mod language;
mod line;
mod lookups;
pub(crate) mod memo;
mod narrowed;
mod owned;
mod past;
mod reads;
mod seen;
mod shared;
mod shell;
mod shown;
pub(crate) mod text;
pub(crate) mod value;
pub(crate) mod version;
mod words;

pub(crate) use budget::STOPPED;
#[cfg(test)]
pub(crate) use covers::covers;
pub(crate) use define::Defines;
pub(crate) use error::Error;
pub(crate) use expr::Expr;
pub(crate) use facts::{Facts, Probe};
pub(crate) use language::Use;
pub(crate) use memo::Memo;
pub(crate) use text::Template;
pub(crate) use words::Meaning;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str) -> Result<Expr, Error> {
        Expr::compile(source, Use::Check, &[])
    }

    #[test]
    fn a_slip_is_found_when_the_lesson_is_loaded() {
        assert_eq!(
            check("presnt('Pod','default','a')").unwrap_err(),
            Error::Unknown { name: "presnt".into(), near: Some("present") }
        );
        assert_eq!(
            check("_present('Pod','default','a')").unwrap_err(),
            Error::Unknown { name: "_present".into(), near: Some("present") }
        );
        assert_eq!(
            check("tracee.exists(t, t.code == 1)").unwrap_err().to_string(),
            "nothing here is called \"tracee\"; did you mean \"trace\"?"
        );
        assert_eq!(check("ready(object('Pot','d','x'))").unwrap_err(), Error::Kind("Pot".into()));
        assert!(matches!(check("object('Pod','d')").unwrap_err(), Error::Arguments { .. }));
        assert!(matches!(check("1 +").unwrap_err(), Error::Syntax(_)));
        let told = check("object('Pod','d','x').ready()").unwrap_err().to_string();
        assert_eq!(told, "ready() stands before its values: ready(x), not x.ready()");
        let message = Error::Unknown { name: "Pod".into(), near: None };
        assert_eq!(check("Pod{name: 'x'} == object('Pod','d','x')").unwrap_err(), message);
        let told = check("(1 + ) && [2").unwrap_err().to_string();
        assert!(!told.contains("(1 + )") && told.matches("ERROR").count() == 1, "the first alone: {told}");
        assert_eq!(check("typed.exists(t, t == 'x')").unwrap_err(), Error::HintsOnly("typed"));
        assert!(Expr::compile("typed.exists(t, t == 'x')", Use::Hint, &[]).is_ok());
        assert!(Expr::compile("c.revision > 0", Use::Beat, &[("c", Meaning::default())]).is_ok());
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused_before_a_stack_ends() {
        assert!(check(&["true"; 100].join(" && ")).is_ok());
        for (begin, middle, end) in [
            ("1", "+1", ""),
            ("v", ".b", ""),
            ("v", "[0]", ""),
            ("", "(", "1"),
            ("", "[", ""),
            ("", "size(", "v"),
        ] {
            for n in [150, 300, 700, 1_900, 100_000] {
                // What the parser skips hides nothing from the bound.
                for hiding in ["", "&'", "'\n", "1r'\\'"] {
                    let told = check(&format!("{hiding}{begin}{}{end}", middle.repeat(n)));
                    assert!(matches!(told, Err(Error::Syntax(_))), "{hiding}{middle} {n} times: {told:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_asked_decides_whether_it_may_turn_false_again() {
        assert!(check("present('Pod','d','x')").unwrap().is_level());
        assert!(!check("trace.exists(t, t.code == 409)").unwrap().is_level());
        assert!(!check("history('Pod','d','x').exists(h, get(h.object,'a',1) == 1)").unwrap().is_level());
        let fetched = "trace.exists(t, t.code == 200) && fetch('http://10.96.0.50')[0].status == 200";
        assert!(check(fetched).unwrap().is_level(), "the Service may be gone in a moment");
        assert!(check("!present('Pod','d','x') && history('Pod','d','x').size() > 0").unwrap().is_level());
        assert_eq!(check("present('Pod','d','x')").unwrap().kinds, ["Pod".to_string()].into());
    }
}
