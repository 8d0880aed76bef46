//! The parsed form of a template: nodes, pipelines and terms.

use api::gostr;
use serde_json::Value;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Print(Pipe),
    /// A pipeline whose value is kept: in a new variable of this block, or (`false`) in the one
    /// that is there.
    Keep(String, bool, Pipe),
    /// With `{{if $x := …}}` the value is a variable of both branches; `{{if $x = …}}` changes one
    /// that is there. The pair is that of [`Node::Keep`].
    If(Option<(String, bool)>, Pipe, Vec<Node>, Vec<Node>),
    With(Option<(String, bool)>, Pipe, Vec<Node>, Vec<Node>),
    /// key variable, value variable
    Range(Option<String>, Option<String>, Pipe, Vec<Node>, Vec<Node>),
    /// A template that was defined, with its dot.
    Call(String, Option<Pipe>, Place),
    Break,
    Continue,
}

/// Commands, each of one term, or of a function and its arguments.
pub(super) type Pipe = Vec<Vec<Term>>;

/// Where a part of a template stands, and how Go writes it: errors name both.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// How many bytes of the template stand before it.
    pub at: usize,
    pub written: Arc<str>,
}

/// A part of a command.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub what: What,
    /// The place at which its text begins.
    pub start: usize,
    /// As in Go, the place of `.a.b` is that of `.b`.
    pub place: Place,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    /// `.a.b`
    Dot(Vec<String>),
    /// `$`, `$x.a`
    Var(String, Vec<String>),
    Word(String),
    Literal(Value),
    /// `(pipe).a`
    Group(Pipe, Vec<String>),
}

/// A command as Go writes it.
fn written_command(command: &[Term]) -> String {
    command.iter().map(|term| &*term.place.written).collect::<Vec<_>>().join(" ")
}

/// A pipeline as Go writes it.
pub(super) fn written_pipe(pipe: &Pipe) -> String {
    pipe.iter().map(|command| written_command(command)).collect::<Vec<_>>().join(" | ")
}

/// The place of a command.
pub(super) fn place_of(command: &[Term]) -> Place {
    let at = command.first().map_or(0, |term| term.start);
    Place { at, written: written_command(command).into() }
}

/// The place of a call of a template, whose name stands `at`.
pub(super) fn place_of_call(name: &str, given: Option<&Pipe>, at: usize) -> Place {
    let given = given.map_or(String::new(), |pipe| format!(" {}", written_pipe(pipe)));
    Place { at, written: format!("{{{{template {}{given}}}}}", gostr::quote(name)).into() }
}
