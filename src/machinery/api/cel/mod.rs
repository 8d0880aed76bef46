//! # CEL: the language of rules and policies
//!
//! ## In Kubernetes
//! The rules of a CustomResourceDefinition (`x-kubernetes-validations`) and the expressions of a
//! ValidatingAdmissionPolicy are written in the Common Expression Language. Kubernetes adds
//! functions of its own and bounds what an expression may cost, since it runs in the API server
//! for every write.
//! ## How this one works
//! The crate `cel` reads and evaluates expressions. What stands here is what both users share, and
//! neither is known here:
//!
//! | part | what it has |
//! |---|---|
//! | `language` | the language's own names, its tokens, and the levels of an expression |
//! | `environment` | the libraries that are loaded, and the functions that may be called |
//! | `functions` | patterns, sums, quantities; `addresses`, `lists` and `uris` have the others |
//! | [`terms`] | an expression, compiled within bounds, and its evaluation |
//! | [`values`] | values of JSON as expressions see them, and names of fields |
//! | [`cost`] | the steps of an expression, estimated before it runs: the evaluator has no brake |
//! | `fault` | what a check finds in an expression before it runs, with its place |
//! | `message` | the message that an expression makes |
//!
//! A rule is about one value whose schema is known, `self`: `custom::typed` gives each part of it
//! the type of its schema, so a text of the format `date-time` is a time. A policy is about a whole
//! request, whose objects may be of any kind: `admission` shows them as they stand in JSON.
//!
//! Example: `self.replicas <= self.max` is compiled once, when the definition is read. For each
//! object the estimate walks through it with the values at hand (a few steps), then the expression
//! is evaluated. `self.a.all(x, self.a.all(y, x != y))` over 2 000 items is some millions of steps,
//! and is refused before it begins. A value that is copied costs a step, for its memory: this
//! evaluator copies what upstream's shares, as the items of `self.a` in `[self.a, self.a]`.
//! ## Left out
//! The libraries for URLs, sets, semantic versions and named formats (refused by name). Macros with
//! two variables, `self.all(i, v, i < v)`; `ip.isCanonical`; `optional.unwrap(list)`, which
//! `list.unwrapOpt()` does, too; `string` of an address or a network, `int` of a duration; the
//! names of the types of times, as in `type(x) == google.protobuf.Timestamp`. A policy's literals
//! are not held against the verbs of `format`. More than 32 patterns in an expression, or patterns
//! that take more than 8 MiB together when they are compiled, or one of more than 256 KiB that is
//! made when the expression runs. A pattern that repeats more than 1000 characters where a text can
//! enter the repetitions at several places (`bounds/places.rs`). By their price: `findAll` over a
//! text of more than 3 to 9 KB, for a pattern of 40 to 5 letters; a pattern that is not written in
//! the expression over one of more than 20 KB. Below an error, the line of the expression that
//! `cel-go` prints; in an expression with letters beyond ASCII, the column of an error that is
//! found after parsing.
//! ## Read next
//! `custom/rules.rs` and `admission/evaluate.rs`, the two users.

mod addresses;
pub(crate) mod arguments;
pub(crate) mod cost;
pub(crate) mod environment;
pub(crate) mod fault;
pub(crate) mod functions;
mod language;
mod lists;
pub(crate) mod message;
pub(crate) mod terms;
pub(crate) mod uris;
pub(crate) mod values;

pub(crate) use language::RESERVED;
pub use language::{FUNCTIONS, levels, tokens};
