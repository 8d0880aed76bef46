//! Words that a field of a record can have: an expression that compares the verb or the component
//! of a record with any other word could never be true, so it is refused when it is compiled.

use super::error::Error;
use super::language::{CONDITIONAL, standard};
use super::{define, facts, functions};
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr as Node};
use std::collections::BTreeSet;
use std::str::FromStr;
use tap::{Component, Event};

/// Verbs of requests to the API server about objects. Source: `k8s.io/apiserver`,
/// `RequestInfoFactory.NewRequestInfo`.
const REQUEST_VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Verbs of the versions that `history` answers.
const VERSION_VERBS: [&str; 4] = ["ADDED", "DELETED", "MODIFIED", "WAS"];

/// What the elements of a list, or a value, are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Records {
    /// Records of `trace`: requests and hops.
    Trace,
    /// Versions of `history`.
    History,
    /// Anything else, and what is not known: of it nothing is refused.
    #[default]
    Other,
}

/// What a name stands for: as a value, and its elements if it is a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub value: Records,
    pub elements: Records,
}

impl Meaning {
    /// What an expression's value is, where these names are bound.
    pub(crate) fn of(expr: &Node, bound: &Bound) -> Meaning {
        Meaning { value: record(expr, bound), elements: elements(expr, bound) }
    }
}

/// Names and what they stand for; the last one of a name counts. One that is not among them is a
/// variable of every expression, as `v`, which holds whatever a lab's author drew.
type Bound = [(String, Meaning)];

fn meaning(name: &str, bound: &Bound) -> Option<Meaning> {
    bound.iter().rev().find(|(bound, _)| bound == name).map(|(_, meaning)| *meaning)
}

/// What the elements of a list are.
pub(super) fn elements(list: &Node, bound: &Bound) -> Records {
    match list {
        Node::Ident(name) => match meaning(name, bound) {
            Some(meaning) => meaning.elements,
            None if name == "trace" => Records::Trace,
            None => Records::Other,
        },
        Node::Call(call) if call.target.is_none() => match call.func_name.as_str() {
            "requests" | "hops" => Records::Trace,
            "history" => Records::History,
            "since" => call.args.get(1).map_or(Records::Other, |arg| elements(&arg.expr, bound)),
            _ => Records::Other,
        },
        Node::Comprehension(c) if is_filter(c) => elements(&c.iter_range.expr, bound),
        _ => Records::Other,
    }
}

/// What a value is.
pub(super) fn record(value: &Node, bound: &Bound) -> Records {
    match value {
        Node::Ident(name) => meaning(name, bound).unwrap_or_default().value,
        Node::Call(call) => match call.func_name.as_str() {
            "hop" | "asked" | "wrote" | "removed" | "because" => Records::Trace,
            "last" | "_[_]" => call.args.first().map_or(Records::Other, |arg| elements(&arg.expr, bound)),
            _ => Records::Other,
        },
        _ => Records::Other,
    }
}

/// Returns whether a macro chooses among the elements of a list, and changes none. `map` with a
/// condition has the same form, but adds something else than the element.
fn is_filter(c: &ComprehensionExpr) -> bool {
    let Node::Call(step) = &c.loop_step.expr else { return false };
    let added = |sum: &CallExpr| match sum.args.get(1).map(|arg| &arg.expr) {
        Some(Node::List(list)) => {
            matches!(list.elements.as_slice(), [one] if matches!(&one.expr, Node::Ident(name) if *name == c.iter_var))
        }
        _ => false,
    };
    step.func_name == CONDITIONAL
        && matches!(step.args.get(1).map(|arg| &arg.expr), Some(Node::Call(sum)) if added(sum))
}

/// Checks a text with which a field of a value is compared.
///
/// # Errors
/// The field can never have this text.
pub(super) fn compared(of: Records, field: &str, text: &str) -> Result<(), Error> {
    match (field, of) {
        // `get(last(list), "verb", "") == ""` asks whether there is a record at all.
        ("verb", _) if text.is_empty() => Ok(()),
        ("verb", Records::Trace) => verb(text),
        ("verb", Records::History) => one_of("version of history()", text, &VERSION_VERBS),
        ("component" | "by_component", Records::Trace) => component(text),
        _ => Ok(()),
    }
}

/// Checks the verbs and the component in a call's texts.
///
/// # Errors
/// There is no such verb or component.
pub(super) fn called(function: &str, text: &dyn Fn(usize) -> Option<String>) -> Result<(), Error> {
    let verbs = match function {
        "requests" | "asked" | "wrote" => text(0),
        "is_request" => text(1),
        "hop" | "hops" => {
            text(0).map_or(Ok(()), |named| component(&named))?;
            return text(1).map_or(Ok(()), |named| verb(&named));
        }
        _ => None,
    };
    let verbs = verbs.unwrap_or_default();
    verbs
        .split(' ')
        .filter(|_| !verbs.is_empty())
        .try_for_each(|verb| one_of("request", verb, &REQUEST_VERBS))
}

/// A verb of a record: of a request's answer the request's, else the event's.
fn verb(word: &str) -> Result<(), Error> {
    let all: BTreeSet<&'static str> = Event::VERBS.into_iter().chain(REQUEST_VERBS).collect();
    one_of("record of trace", word, &Vec::from_iter(all))
}

fn one_of(of: &'static str, word: &str, known: &[&'static str]) -> Result<(), Error> {
    if known.contains(&word) {
        return Ok(());
    }
    Err(Error::Word {
        of,
        field: "verb",
        word: word.into(),
        near: near(word, known),
        known: known.join(", "),
    })
}

/// A component's name.
fn component(word: &str) -> Result<(), Error> {
    if Component::from_str(word).is_ok() {
        return Ok(());
    }
    let all = Component::ALL.into_iter().map(Component::name).filter(|name| !name.is_empty());
    let known: Vec<&'static str> = all.collect();
    Err(Error::Word {
        of: "record of trace",
        field: "component",
        word: word.into(),
        near: near(word, &known),
        known: known.join(", "),
    })
}

/// The name of a function or a variable that was probably meant.
pub(super) fn near_name(name: &str) -> Option<&'static str> {
    let calls = define::CALLS.iter().map(|call| call.0);
    let all = functions::TABLE.iter().map(|f| f.name).chain(calls).chain(standard());
    near(name, &all.chain(facts::VARIABLES.iter().copied()).collect::<Vec<_>>())
}

fn near(word: &str, known: &[&'static str]) -> Option<&'static str> {
    let distance = |known: &&'static str| (strsim::osa_distance(known, word), *known);
    known.iter().map(distance).filter(|(distance, _)| *distance <= 2).min().map(|(_, near)| near)
}

#[cfg(test)]
mod tests {
    use super::super::{Error, Expr, Use};
    use super::{Meaning, Records};

    /// A hop, and versions.
    const HOP: Meaning = Meaning { value: Records::Trace, elements: Records::Other };
    const VERSIONS: Meaning = Meaning { value: Records::Other, elements: Records::History };

    fn refused(source: &str, place: Use) -> Option<String> {
        let bound = [("c", HOP), ("all", VERSIONS), ("l", Meaning::default())];
        match Expr::compile(source, place, &bound) {
            Ok(_) => None,
            Err(error @ Error::Word { .. }) => Some(error.to_string()),
            Err(error) => panic!("{source}: {error}"),
        }
    }

    #[test]
    fn a_verb_that_no_record_has_is_refused_with_those_that_there_are() {
        for source in [
            "trace.exists(t, t.verb == 'creat')",
            "trace.exists(t, t.verb in ['get', 'creat'])",
            "trace.exists(t, 'creat' != t.verb)",
            "trace.exists(t, get(t, 'verb', '') == 'creat')",
            "trace.filter(t, t.own).exists(t, t.verb == 'creat')",
            "trace[0].verb == 'creat'",
            "requests('get', 'Pod').exists(t, t.verb == 'creat')",
            "requests('get creat', 'Pod').size() > 0",
            "history('Pod','d','a').exists(h, trace.exists(t, t.verb == 'creat'))",
        ] {
            let told = refused(source, Use::Check).expect(source);
            assert!(told.contains("the verb \"creat\"; did you mean \"create\"?"), "{source}: {told}");
            assert!(told.contains(" deletecollection,") && told.ends_with("watch"), "{told}");
        }
        for (source, told) in [
            ("history('Pod','d','a').exists(h, h.verb == 'delete')", "ADDED, DELETED, MODIFIED, WAS"),
            ("last(history('Pod','d','a')).verb == 'GONE'", "ADDED, DELETED, MODIFIED, WAS"),
            ("trace.exists(t, t.verb == 'DELETED')", "admit, "),
            ("requests('visit', 'Pod').size() > 0", "create, delete, deletecollection, get, list"),
            ("hops('kubelet', 'strat', 'Pod').size() > 0", "did you mean \"start\"?"),
            ("trace.exists(t, t.component == 'kublet')", "did you mean \"kubelet\"?"),
            ("trace.exists(t, t.by_component == 'scheduler')", "the component \"scheduler\""),
            ("hop('kube-sheduler', 'schedule', 'Pod') != {}", "did you mean \"kube-scheduler\"?"),
            ("c.verb == 'creat'", "did you mean \"create\"?"),
            ("c.verb == 'ADDED'", "admit, "),
            ("all.exists(h, h.verb == 'create')", "ADDED, DELETED, MODIFIED, WAS"),
            ("last(all).verb == 'create'", "ADDED, DELETED, MODIFIED, WAS"),
        ] {
            let error = refused(source, Use::Beat).expect(source);
            assert!(error.contains(told), "{source}: {error}");
        }
    }

    #[test]
    fn every_verb_that_can_be_is_taken_and_other_fields_are_not_looked_at() {
        for verb in tap::Event::VERBS.iter().chain(&super::REQUEST_VERBS) {
            assert_eq!(refused(&format!("trace.exists(t, t.verb == '{verb}')"), Use::Check), None);
        }
        for source in [
            "history('Pod','d','*').filter(h, h.verb != 'WAS').exists(h, h.verb in ['ADDED', 'DELETED'])",
            "c.verb == 'start' || c.verb == 'patch'",
            "all.exists(c, c.verb == 'ADDED')",
            "objects('Pod','*').exists(o, get(o, 'verb', '') == 'sail' || o.spec.verb == 'sail')",
            "trace.exists(t, t.detail.verb == 'sail')",
            "trace.map(t, t.detail).exists(d, d.verb == 'sail')",
            "[{'verb': 'sail'}].exists(x, x.verb == 'sail')",
            "trace.exists(t, t.component == '')",
            "get(asked('get', 'Pod'), 'verb', '') == ''",
            "get(last(history('Pod','d','a')), 'verb', '') != ''",
            // A lab's drawn values, and an object's labels.
            "v.component == 'web' || v.verb == 'escalate'",
            "l.component == 'web' || l.exists(x, x.verb == 'sail')",
            "ran.exists(r, get(r, 'verb', '') == 'sail')",
        ] {
            assert_eq!(refused(source, Use::Beat), None, "{source}");
        }
    }

    /// A beat binds values to names; of each it is known what it is.
    #[test]
    fn an_expression_tells_what_its_value_is() {
        let bound = [("c", HOP), ("all", VERSIONS)];
        let of = |source: &str| {
            let Meaning { value, elements } = Expr::compile(source, Use::Beat, &bound).unwrap().meaning;
            (value, elements)
        };
        use Records::{History, Other, Trace};
        for (source, meaning) in [
            ("hop('kubelet', 'start', 'Pod')", (Trace, Other)),
            ("c", (Trace, Other)),
            ("hops('kubelet', 'start', 'Pod').filter(h, h.own)", (Other, Trace)),
            ("trace", (Other, Trace)),
            ("since(c, all)", (Other, History)),
            ("all[0]", (History, Other)),
            ("get(object('Pod', 'd', 'a'), 'metadata.labels', {})", (Other, Other)),
            ("v.verbs", (Other, Other)),
        ] {
            assert_eq!(of(source), meaning, "{source}");
        }
    }
}
