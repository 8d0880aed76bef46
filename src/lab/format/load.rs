//! `load:` of a lesson or step: requests to a Service that are sent in the background, and counted.

use super::compiler::Compiler;
use super::lesson::Step;
use super::raw;
use std::time::Duration;

/// The usual pause between two requests of one node, and the least.
const EVERY: Duration = Duration::from_millis(100);
const EVERY_MIN: Duration = Duration::from_millis(20);

/// Requests to a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub namespace: String,
    pub service: String,
    pub port: u16,
    /// Begins with `/`.
    pub path: String,
    /// The pause of each node after a request.
    pub every: Duration,
}

/// Reads what a lesson or step declares; what is left out is as usual.
pub(super) fn read(on: &mut Compiler<'_>, declared: raw::Load) -> Option<Load> {
    let raw::Load { service, namespace, port, path, every } = declared;
    let (path, every) = (path.unwrap_or_else(|| "/".into()), every.map_or(EVERY, |every| every.0));
    let odd = if service.is_empty() {
        "a load needs the name of a Service"
    } else if !path.starts_with('/') {
        "the path of a load begins with /"
    } else if every < EVERY_MIN {
        "a load sends a request every 20ms at most"
    } else {
        let namespace = namespace.unwrap_or_else(|| "default".into());
        return Some(Load { namespace, service, port: port.unwrap_or(80), path, every });
    };
    on.fault("load:", odd.into());
    None
}

/// Notes a step that asks for the result of a load and declares none.
pub(super) fn check(on: &mut Compiler<'_>, step: &Step) {
    if step.load.is_none() && step.exprs().any(|expr| expr.calls("load")) {
        on.fault("load()", format!("step {:?} asks for load(), and no `load:` is declared", step.id));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Lesson, parse};
    use super::*;
    use std::path::Path;

    /// A lesson of two steps. `head` and `first` are keys of the lesson and of its first step.
    fn lesson(head: &str, first: &str) -> Result<Lesson, String> {
        let text = format!(
            "---\nid: t/01\ntitle: T\ntrack: t\norder: 1\n{head}\nsteps:\n\
             - id: one\n  task: T.\n  check: 'load().failed == 0 && load().sent >= 500'\n  \
             solution: [kubectl get pods]\n{first}\n\
             - id: two\n  task: T.\n  check: 'present(\"Pod\",\"default\",\"a\")'\n  solution: [kubectl get pods]\n---\n\
             # T\n\nText.\n\n## One {{#one}}\n\nText.\n\n## Two {{#two}}\n\nText.\n"
        );
        parse(&text, Path::new("t/01/lesson.md"), &[]).map_err(|faults| faults[0].what.clone())
    }

    #[test]
    fn a_step_has_its_own_load_or_that_of_the_lesson() {
        let usual = Load {
            namespace: "default".into(),
            service: "site".into(),
            port: 80,
            path: "/".into(),
            every: EVERY,
        };
        let read = lesson("load: {service: site}", "").unwrap();
        assert!(read.steps.iter().all(|step| step.load.as_ref() == Some(&usual)));
        let own = "  load: {service: site, namespace: shop, port: 8080, path: /a, every: 50ms}";
        let read = lesson("", own).unwrap();
        let every = Duration::from_millis(50);
        let shop = Load { namespace: "shop".into(), port: 8080, path: "/a".into(), every, ..usual };
        assert_eq!((read.steps[0].load.as_ref(), read.steps[1].load.as_ref()), (Some(&shop), None));
    }

    #[test]
    fn what_cannot_be_sent_is_a_fault() {
        for (head, first, says) in [
            ("", "", "no `load:` is declared"),
            ("load: {service: ''}", "", "the name of a Service"),
            ("load: {service: a, path: b}", "", "begins with /"),
            ("", "  load: {service: a, every: 1ms}", "every 20ms"),
            ("load: {servise: a}", "", "service"),
        ] {
            let told = lesson(head, first).expect_err(says);
            assert!(told.contains(says), "{told}");
        }
    }

    /// Its check says nothing of the load.
    #[test]
    fn a_step_that_asks_for_a_load_anywhere_declares_one() {
        for part in [
            "keep: {is: 'load().failed == 0', say: S.}",
            "lost: {when: 'load().failed > 9', say: S.}",
            "hints: [{tier: 1, when: 'load().sent > 5', say: S.}]",
            "hints: [{tier: 1, say: 'Sent: ${load().sent}'}]",
        ] {
            let read = |load: &str| {
                let text = format!(
                    "---\nid: t/01\ntitle: T\ntrack: t\norder: 1\nsteps:\n\
                     - id: one\n  task: T.\n  check: 'present(\"Pod\",\"default\",\"a\")'\n  \
                     solution: [kubectl get pods]\n  {part}\n{load}---\n\
                     # T\n\nText.\n\n## One {{#one}}\n\nText.\n"
                );
                parse(&text, Path::new("t/01/lesson.md"), &[]).map_err(|faults| faults[0].what.clone())
            };
            let told = read("").expect_err(part);
            assert!(told.contains("no `load:` is declared"), "{told}");
            assert!(read("  load: {service: site}\n").is_ok(), "{part}");
        }
    }
}
