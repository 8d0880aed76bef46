//! What the text of a template becomes: nodes, pipelines and terms.

use serde_json::Value;

#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Print(Pipe),
    /// A pipeline whose value is kept: in a new variable of this block, or (`false`) in the one
    /// that is there.
    Keep(String, bool, Pipe),
    /// With `{{if $x := …}}` the value is a variable of both branches.
    If(Option<String>, Pipe, Vec<Node>, Vec<Node>),
    With(Option<String>, Pipe, Vec<Node>, Vec<Node>),
    /// key variable, value variable
    Range(Option<String>, Option<String>, Pipe, Vec<Node>, Vec<Node>),
    /// A template that was defined, with its dot.
    Call(String, Option<Pipe>),
    Break,
    Continue,
}

pub(super) type Pipe = Vec<Vec<Term>>;

#[derive(Debug, Clone)]
pub(super) enum Term {
    /// `.a.b`
    Dot(Vec<String>),
    /// `$`, `$x.a`
    Var(String, Vec<String>),
    Word(String),
    Literal(Value),
    /// `(pipe).a`
    Group(Pipe, Vec<String>),
}
