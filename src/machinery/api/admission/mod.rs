//! # Admission policies: rules for requests, written in CEL
//!
//! ## In Kubernetes
//! A ValidatingAdmissionPolicy says which requests it is about, and what must be true of each. A
//! binding of it says where it holds, with which parameters, and whether a request that breaks it
//! is refused, answered with a warning, or noted. The API server asks the policies itself, in the
//! request, without a webhook.
//! ## How this one works
//! [`Policy`] is a policy, compiled; [`Criteria`] says which requests a policy or a binding
//! matches; [`evaluate`](Policy::evaluate) asks a policy about one request ([`Review`]) and answers
//! with what is wrong. All of it is pure: which policies there are, and where parameters are found,
//! is for the API server to know (`apiserver/admission/policies`).
//!
//! Expressions are those of [`crate::cel`], as in definitions: the same functions, and the same
//! bounds on length, depth and steps. Beside these, all variables of a policy together have at most
//! 8 MiB. A variable is made when an expression reads it (`needs`), and a right is asked for when
//! an expression asks (`authorizer`); the API server decides about it.
//!
//! Before an expression is stored, [`types`] holds it against what is known of its variables, and
//! [`check`] does so once more with the schemas of the kinds that the policy matches, for
//! `status.typeChecking`.
//! ## Left out
//! Expressions that earlier versions took are judged anew with every change of a policy: there are
//! no earlier versions. A message is made only for a validation that fails, and a variable once for
//! the validations, messages and annotations of a policy. Upstream makes all messages, and
//! variables anew for each of the three, so its budget ends earlier; and a variable that asks for a
//! right fails there in messages and annotations, where this one has its value. Beside upstream's
//! budgets all policies of a request share one ([`Review::STEPS_MAX`]), from which each attempt of
//! an expression is paid. An optional field of a variable that fails (`variables.?x`) is none. Of
//! two variables with one name the last one counts, as upstream; one that reads its own value so
//! fails, where upstream's server evaluates it without end. A variable whose value may be the
//! object `variables`, or have it in it, is refused. Expressions of more than 512 KiB in a policy,
//! or whose patterns take more than 32 MiB.
//! ## Read next
//! `apiserver/admission/policies`, which asks the policies about a write.

mod attempt;
mod authorizer;
pub(crate) mod check;
mod criteria;
mod evaluate;
pub(crate) mod expression;
mod needs;
mod policy;
mod types;

pub use authorizer::{AccessCheck, Decision, Resource, Target};
pub use criteria::{Criteria, Request};
pub use evaluate::{Denial, Outcome, Review};
pub use policy::{Policy, param_kind};

#[cfg(test)]
mod tests;
