//! The variable `authorizer`: an expression asks whether a user has a right (upstream:
//! `cel/library/authz.go`).
//!
//! Example: `authorizer.group('apps').resource('deployments').namespace('shop').check('delete')
//! .allowed()` is true if the user of the request may delete Deployments there. Each call but the
//! last adds a word to the question; `check` asks it, through [`Needs`].

use super::needs::Needs;
use crate::cel::arguments::{NO_OVERLOAD, Run, text, word};
use crate::validate::names::{dns_label, dns_subdomain};
use cel::Value;
use cel::objects::Opaque;
use std::any::Any;
use std::sync::Arc;

/// A question about a right.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccessCheck {
    /// Namespace and name of the ServiceAccount that is asked about; `None`: the request's user.
    pub account: Option<(String, String)>,
    /// What would be done, e.g. `get`.
    pub verb: String,
    /// What it would be done to.
    pub target: Target,
}

/// What a right is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A path that is no resource, e.g. `/healthz`.
    Path(String),
    /// A resource of the API.
    Resource(Resource),
}

/// A resource of the API; empty texts say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resource {
    /// E.g. `apps`.
    pub group: String,
    /// E.g. `deployments`.
    pub resource: String,
    /// E.g. `scale`.
    pub subresource: String,
    /// Empty for what is in no namespace, or in all of them.
    pub namespace: String,
    /// The name of one object.
    pub name: String,
    /// A field selector that a list is limited to, as in a query.
    pub field_selector: String,
    /// A label selector that a list is limited to.
    pub label_selector: String,
}

/// The answer to an [`AccessCheck`]. Upstream's may be an error as well, of an authorizer outside
/// of the API server: there is none here, so `errored()` is false.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The user has the right.
    pub is_allowed: bool,
    /// Why, or why not; often empty.
    pub reason: String,
}

/// The needs of the policy that is evaluated. Values compare by it, as upstream's by its
/// authorizer.
#[derive(Clone, Debug)]
struct Asker(Arc<Needs>);

impl PartialEq for Asker {
    fn eq(&self, other: &Asker) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for Asker {}

/// `authorizer`, and what `serviceAccount` makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Authorizer {
    asker: Asker,
    account: Option<(String, String)>,
}

/// `authorizer.group('apps')`
#[derive(Debug, PartialEq, Eq)]
struct GroupCheck(Authorizer, String);

/// `authorizer.path('/healthz')`
#[derive(Debug, PartialEq, Eq)]
struct PathCheck(Authorizer, String);

/// `authorizer.group('apps').resource('deployments')`
#[derive(Debug, PartialEq, Eq)]
struct ResourceCheck(Authorizer, Resource);

macro_rules! opaque {
    ($($type:ident: $name:literal),*) => {
        $(impl Opaque for $type {
            fn runtime_type_name(&self) -> &str {
                $name
            }
        })*
    };
}

opaque! {
    Authorizer: "kubernetes.authorization.Authorizer",
    GroupCheck: "kubernetes.authorization.GroupCheck",
    PathCheck: "kubernetes.authorization.PathCheck",
    ResourceCheck: "kubernetes.authorization.ResourceCheck",
    Decision: "kubernetes.authorization.Decision"
}

fn value(of: impl Opaque) -> Value {
    Value::Opaque(Arc::new(of))
}

/// Returns the variable `authorizer`, and `authorizer.requestResource`, which is about the resource
/// of the request.
pub(super) fn variables(needs: &Arc<Needs>, request: Resource) -> (Value, Value) {
    let authorizer = Authorizer { asker: Asker(needs.clone()), account: None };
    (value(authorizer.clone()), value(ResourceCheck(authorizer, request)))
}

/// Returns what a call is made on, if it is of this type.
fn receiver<T: Any>(values: &[Value]) -> Result<&T, String> {
    match values.first() {
        Some(Value::Opaque(receiver)) => receiver.downcast_ref::<T>().ok_or(NO_OVERLOAD.into()),
        _ => Err(NO_OVERLOAD.into()),
    }
}

/// Returns a [`ResourceCheck`] with one more word.
fn narrowed(values: &[Value], put: impl FnOnce(&mut Resource, String)) -> Result<Value, String> {
    let ResourceCheck(authorizer, resource) = receiver::<ResourceCheck>(values)?;
    let mut resource = resource.clone();
    put(&mut resource, word(values, 1)?.to_string());
    Ok(value(ResourceCheck(authorizer.clone(), resource)))
}

/// Returns the second argument, which says something.
fn filled_word<'v>(values: &'v [Value], what: &str) -> Result<&'v str, String> {
    let word = word(values, 1)?;
    if word.trim().is_empty() { Err(format!("{what} must not be empty")) } else { Ok(word) }
}

fn decide(authorizer: &Authorizer, target: Target, values: &[Value]) -> Result<Value, String> {
    let verb = word(values, 1)?.to_string();
    let check = AccessCheck { account: authorizer.account.clone(), verb, target };
    authorizer.asker.0.decide(check).map(value)
}

/// Name, and what the function makes of the value that it is called on and its arguments.
pub(super) const FUNCTIONS: &[(&str, Run)] = &[
    ("path", |v| {
        let authorizer = receiver::<Authorizer>(v)?;
        Ok(value(PathCheck(authorizer.clone(), filled_word(v, "path")?.to_string())))
    }),
    ("group", |v| {
        let authorizer = receiver::<Authorizer>(v)?;
        Ok(value(GroupCheck(authorizer.clone(), word(v, 1)?.to_string())))
    }),
    ("serviceAccount", |v| {
        let Authorizer { asker, .. } = receiver::<Authorizer>(v)?;
        let (namespace, name) = (word(v, 1)?, word(v, 2)?);
        if !dns_subdomain(name).is_empty() {
            return Err("Invalid service account name".into());
        }
        if !dns_label(namespace).is_empty() {
            return Err("Invalid service account namespace".into());
        }
        let account = Some((namespace.to_string(), name.to_string()));
        Ok(value(Authorizer { asker: asker.clone(), account }))
    }),
    ("resource", |v| {
        let GroupCheck(authorizer, group) = receiver::<GroupCheck>(v)?;
        let (group, resource) = (group.clone(), filled_word(v, "resource")?.to_string());
        Ok(value(ResourceCheck(authorizer.clone(), Resource { group, resource, ..Resource::default() })))
    }),
    ("subresource", |v| narrowed(v, |resource, word| resource.subresource = word)),
    ("namespace", |v| narrowed(v, |resource, word| resource.namespace = word)),
    ("name", |v| narrowed(v, |resource, word| resource.name = word)),
    ("fieldSelector", |v| narrowed(v, |resource, word| resource.field_selector = word)),
    ("labelSelector", |v| narrowed(v, |resource, word| resource.label_selector = word)),
    ("check", |v| match receiver::<PathCheck>(v) {
        Ok(PathCheck(authorizer, path)) => decide(authorizer, Target::Path(path.clone()), v),
        Err(_) => {
            let ResourceCheck(authorizer, resource) = receiver::<ResourceCheck>(v)?;
            decide(authorizer, Target::Resource(resource.clone()), v)
        }
    }),
    ("allowed", |v| receiver::<Decision>(v).map(|decision| Value::Bool(decision.is_allowed))),
    ("reason", |v| receiver::<Decision>(v).map(|decision| text(&decision.reason))),
    ("errored", |v| receiver::<Decision>(v).map(|_| Value::Bool(false))),
    ("error", |v| receiver::<Decision>(v).map(|_| text(""))),
];

/// Returns whether this is a function of the variable.
pub(super) fn is_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|(function, _)| *function == name)
}
