//! One expression of a policy, checked against the variables that it may name.

use super::authorizer;
use super::types::{self, BOOL, INT, NULL, Object, STRING, Type, VARIABLES};
use crate::cel::environment::{TYPE_NAMES, check_call, check_form, is_library};
use crate::cel::fault::Fault;
use crate::cel::terms::{self, Term};
use cel::IdedExpr;
use cel::common::ast::operators::OPT_SELECT as OPTIONAL_FIELD;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr as Node, LiteralValue, SelectExpr};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// Type of `authorizer`.
const AUTHORIZER: Type = Type::Plain("Authorizer");
/// Type of `authorizer.requestResource`.
const RESOURCE_CHECK: Type = Type::Plain("ResourceCheck");

/// The variables that an expression may name, with their types.
#[derive(Default)]
pub(crate) struct Variables {
    plain: BTreeMap<&'static str, Type>,
    /// Type of `variables`, an object with the policy's own, if it has any.
    composed: Option<Arc<Object>>,
}

/// Type of `request` (`BuildRequestType` upstream).
static REQUEST: LazyLock<Type> = LazyLock::new(|| {
    let kind = Type::object(
        "kubernetes.GroupVersionKind",
        [("group", STRING), ("version", STRING), ("kind", STRING)],
    );
    let resource = Type::object(
        "kubernetes.GroupVersionResource",
        [("group", STRING), ("version", STRING), ("resource", STRING)],
    );
    let texts = || Type::list(STRING);
    let user = Type::object(
        "kubernetes.UserInfo",
        [("username", STRING), ("uid", STRING), ("groups", texts()), ("extra", Type::map(texts()))],
    );
    Type::object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", STRING),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", STRING),
            ("name", STRING),
            ("namespace", STRING),
            ("operation", STRING),
            ("userInfo", user),
            ("dryRun", BOOL),
            ("options", Type::Dyn),
        ],
    )
});

/// Type of `namespaceObject` (`BuildNamespaceType` upstream).
static NAMESPACE: LazyLock<Type> = LazyLock::new(|| {
    let time = || Type::Plain("timestamp");
    let texts = || Type::map(STRING);
    let metadata = Type::object(
        "kubernetes.NamespaceMetadata",
        [
            ("name", STRING),
            ("generateName", STRING),
            ("namespace", STRING),
            ("labels", texts()),
            ("annotations", texts()),
            ("UID", STRING),
            ("creationTimestamp", time()),
            ("deletionGracePeriodSeconds", INT),
            ("deletionTimestamp", time()),
            ("generation", INT),
            ("resourceVersion", STRING),
            ("finalizers", Type::list(STRING)),
        ],
    );
    let condition = Type::object(
        "kubernetes.NamespaceCondition",
        [
            ("status", STRING),
            ("type", STRING),
            ("lastTransitionTime", time()),
            ("message", STRING),
            ("reason", STRING),
        ],
    );
    let spec = Type::object("kubernetes.NamespaceSpec", [("finalizers", Type::list(STRING))]);
    let status = [("conditions", Type::list(condition)), ("phase", STRING)];
    let status = Type::object("kubernetes.NamespaceStatus", status);
    Type::object("kubernetes.Namespace", [("metadata", metadata), ("spec", spec), ("status", status)])
});

impl Variables {
    /// Returns the variables of every expression. `object` and `old` are `dyn` but where types are
    /// checked; `params` are there only if the policy names their kind.
    pub(crate) fn of(object: Type, params: Option<Type>) -> Variables {
        let all = [
            ("object", object.clone()),
            ("oldObject", object),
            ("request", REQUEST.clone()),
            ("namespaceObject", NAMESPACE.clone()),
            ("authorizer", AUTHORIZER),
        ];
        let all = all.into_iter().chain(params.map(|params| ("params", params)));
        Variables { plain: all.collect(), composed: None }
    }

    /// Adds `variables`, which has no fields yet.
    pub(crate) fn composed(self) -> Variables {
        let none = Object { name: VARIABLES.to_string(), fields: BTreeMap::new() };
        Variables { composed: Some(Arc::new(none)), ..self }
    }

    /// Adds a field of `variables`: the expressions after it may name it. Of two with one name the
    /// last one counts (`CompositionEnv.AddField` upstream).
    pub(crate) fn add(&mut self, name: &str, given: Type) {
        let given = given.of_variable(); // from here on it is not `variables`, which would be copied
        if let Some(composed) = &mut self.composed {
            Arc::make_mut(composed).fields.insert(name.to_string(), given);
        }
    }
}

/// The type that an expression has to have.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Wanted {
    /// A validation, or a condition.
    Bool,
    /// A message.
    Text,
    /// The value of an audit annotation.
    TextOrNull,
}

impl Wanted {
    /// # Errors
    /// The compiler's sentence if the expression gives something else.
    fn check(self, given: &Type) -> Result<(), String> {
        let (fits, words) = match self {
            Wanted::Bool => (*given == BOOL, "bool"),
            Wanted::Text => (*given == STRING, "string"),
            Wanted::TextOrNull => (*given == STRING || *given == NULL, "one of [string null_type]"),
        };
        match fits || *given == Type::Unknown {
            true => Ok(()),
            false => Err(format!("must evaluate to {words} but got {given}")),
        }
    }
}

/// Compiles an expression and infers its type.
///
/// # Errors
/// The compiler's message, as upstream's validation shows it.
pub(crate) fn compile(source: &str, variables: &Variables, wanted: Wanted) -> Result<(Term, Type), String> {
    let term = parse(source)?;
    if wanted == Wanted::Text && term.program.references().has_variable("authorizer") {
        return Err(failed(undeclared("authorizer").text(&term))); // a message asks for no rights
    }
    let given = judge(&term, variables)?;
    wanted.check(&given)?;
    Ok((term, given))
}

fn failed(why: String) -> String {
    format!("compilation failed: {}", why.replace('\n', " "))
}

/// Reads an expression.
///
/// # Errors
/// The parser's message.
pub(crate) fn parse(source: &str) -> Result<Term, String> {
    terms::compile(source).map_err(failed)
}

/// Infers the type of an expression.
///
/// # Errors
/// The checker's message.
pub(crate) fn judge(term: &Term, variables: &Variables) -> Result<Type, String> {
    let mut inner = Around::default();
    let work = || infer(term.program.expression(), variables, &mut inner).map_err(|fault| fault.text(term));
    terms::with_stack(term.depth, work).map_err(failed)
}

/// What is known of the nodes around the one whose type is inferred.
#[derive(Default)]
struct Around<'a> {
    /// Names that macros bind, with their types.
    bound: Vec<(&'a str, Type)>,
    /// The node is in a call of `format`, in which literals may have parts of several types.
    in_format: bool,
}

/// Returns the type of a node.
fn infer<'a>(node: &'a IdedExpr, all: &Variables, inner: &mut Around<'a>) -> Result<Type, Fault> {
    infer_all(&node.expr, all, inner).map(Type::bounded).map_err(|fault| fault.within(node))
}

/// As [`infer`], without the bound on the parts of the type.
fn infer_all<'a>(node: &'a Node, all: &Variables, inner: &mut Around<'a>) -> Result<Type, Fault> {
    match node {
        Node::Literal(literal) => Ok(match literal {
            LiteralValue::Boolean(_) => BOOL,
            LiteralValue::Bytes(_) => Type::Plain("bytes"),
            LiteralValue::Double(_) => Type::Plain("double"),
            LiteralValue::Int(_) => INT,
            LiteralValue::Null => NULL,
            LiteralValue::String(_) => STRING,
            LiteralValue::UInt(_) => Type::Plain("uint"),
        }),
        Node::Ident(name) => ident(name, all, &inner.bound),
        Node::Select(select) => {
            let special = composed_field(select, all, &inner.bound);
            if let Some(given) = special.or_else(|| request_resource(select, all, &inner.bound)) {
                return given.map(|given| if select.test { BOOL } else { given });
            }
            let given = infer(&select.operand, all, inner)?.field(&select.field).map_err(Fault::new)?;
            Ok(if select.test { BOOL } else { given })
        }
        Node::Call(call) => call_type(call, all, inner),
        Node::Comprehension(c) => comprehension(c, all, inner),
        Node::List(list) => {
            let mut item = Type::Unknown;
            let mut optional = list.optional_indices.iter().peekable();
            for (i, element) in list.elements.iter().enumerate() {
                let is_optional = optional.next_if_eq(&&i).is_some();
                let given = member(element, is_optional, all, inner)?;
                item = join(item, given, element, inner)?;
            }
            Ok(Type::list(item))
        }
        Node::Map(map) => {
            let (mut keys, mut values) = (Type::Unknown, Type::Unknown);
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    let key = infer(&entry.key, all, inner)?;
                    keys = join(keys, key, &entry.key, inner)?;
                    let value = member(&entry.value, entry.optional, all, inner)?;
                    values = join(values, value, &entry.value, inner)?;
                }
            }
            Ok(Type::Map(Box::new(keys), Box::new(values)))
        }
        Node::Struct(made) => Err(undeclared(&made.type_name)),
        _ => Ok(Type::Unknown),
    }
}

/// Returns the type of a call.
fn call_type<'a>(call: &'a CallExpr, all: &Variables, inner: &mut Around<'a>) -> Result<Type, Fault> {
    if let (OPTIONAL_FIELD, [operand, field]) = (call.func_name.as_str(), call.args.as_slice()) {
        return optional_field(operand, field, all, inner);
    }
    let library = call.target.as_deref().and_then(|target| match &target.expr {
        Node::Ident(name) if is_library(name) => Some(name.as_str()),
        _ => None,
    });
    let target = call.target.as_deref().filter(|_| library.is_none());
    let is_method = target.is_some();
    let was_in_format = inner.in_format;
    inner.in_format |= call.func_name == "format";
    let mut given = vec![];
    for part in target.into_iter().chain(&call.args) {
        given.push(infer(part, all, inner)?);
    }
    inner.in_format = was_in_format;
    if !(is_method && authorizer::is_function(&call.func_name)) {
        check_call(call)?;
    }
    match (call.func_name.as_str(), library, given.as_slice()) {
        (name, Some("optional"), given) => {
            types::call(&format!("optional.{name}"), false, given).map_err(Fault::new)
        }
        // A function of a library: `lists.range(3)`.
        (_, Some(_), given) => Ok(Type::Unknown.made_of(given)),
        (name, None, given) => {
            let made = types::call(name, is_method, given).map_err(Fault::new)?;
            check_form(call).map(|()| made)
        }
    }
}

/// Returns the type of `x.?y`: an optional of the type that `x.y` has (`checkOptSelect` of
/// `cel-go`). A field that an object does not have is an error here, too: it may lack a value, but
/// not a definition.
///
/// Example: with a variable `n` that is an int, `variables.?n` is an `optional_type(int)`, so
/// `variables.?n.orValue(1)` is an int, and `variables.?m` an undefined field.
fn optional_field<'a>(
    operand: &'a IdedExpr,
    field: &IdedExpr,
    all: &Variables,
    inner: &mut Around<'a>,
) -> Result<Type, Fault> {
    let given = infer(operand, all, inner)?;
    let Node::Literal(LiteralValue::String(name)) = &field.expr else {
        return Err(Fault::new("unsupported optional field selection").within(field));
    };
    let selected = given.field(name.inner()).map_err(Fault::new)?;
    Ok(match given {
        Type::Optional(_) => selected, // it is an optional already
        _ => Type::Optional(Box::new(selected)),
    })
}

/// Returns the type that an element gives to its list, or a value to its map. In `[?x]` and
/// `{?'a': x}` that is what the optional `x` may hold.
fn member<'a>(
    element: &'a IdedExpr,
    is_optional: bool,
    all: &Variables,
    inner: &mut Around<'a>,
) -> Result<Type, Fault> {
    match (infer(element, all, inner)?, is_optional) {
        (Type::Optional(held), true) => Ok(*held),
        (given, true) if !given.is_open() => {
            let why = format!("expected type 'optional_type({given})' but found '{given}'");
            Err(Fault::new(why).within(element))
        }
        (given, _) => Ok(given),
    }
}

/// Returns the type of a literal's elements with one more, `node`.
///
/// # Errors
/// All elements of a list are of one type, and so are the keys and the values of a map, except in a
/// call of `format` (`ValidateHomogeneousAggregateLiterals` of `cel-go`).
///
/// Example: `[1, 'a']` is refused, and so is `[object.name, 'a']`, but neither `[object.name,
/// dyn('a')]` nor `'%d %s'.format([1, 'a'])`.
fn join(so_far: Type, given: Type, node: &IdedExpr, inner: &Around<'_>) -> Result<Type, Fault> {
    so_far.joined(given, inner.in_format).map_err(|why| Fault::new(why).within(node))
}

/// Returns the type of `variables.x`; `None` for another selection.
fn composed_field(
    select: &SelectExpr,
    all: &Variables,
    inner: &[(&str, Type)],
) -> Option<Result<Type, Fault>> {
    let fields = &all.composed.as_ref()?.fields;
    let is_composed = matches!(&select.operand.expr, Node::Ident(name) if name == "variables");
    if !is_composed || inner.iter().any(|(known, _)| *known == "variables") {
        return None;
    }
    let undefined = || Fault::new(format!("undefined field '{}'", select.field));
    Some(fields.get(&select.field).cloned().ok_or_else(undefined))
}

/// Returns the type of `authorizer.requestResource`, which upstream is a variable with a dot in its
/// name; `None` for another selection, and for `has(authorizer.requestResource)`, which asks for a
/// field.
fn request_resource(
    select: &SelectExpr,
    all: &Variables,
    inner: &[(&str, Type)],
) -> Option<Result<Type, Fault>> {
    let is_authorizer = matches!(&select.operand.expr, Node::Ident(name) if name == "authorizer");
    let is_bound = inner.iter().any(|(known, _)| *known == "authorizer");
    let is_found = is_authorizer && !is_bound && !select.test && all.plain.contains_key("authorizer");
    (is_found && select.field == "requestResource").then_some(Ok(RESOURCE_CHECK))
}

fn undeclared(name: &str) -> Fault {
    Fault::new(format!("undeclared reference to '{name}' (in container '')"))
}

fn ident(name: &str, all: &Variables, inner: &[(&str, Type)]) -> Result<Type, Fault> {
    let bound = inner.iter().rev().find(|(known, _)| *known == name).map(|(_, kind)| kind);
    let composed = all.composed.as_ref().filter(|_| name == "variables");
    let composed = || composed.map(|composed| Type::Object(composed.clone()));
    match bound.or_else(|| all.plain.get(name)).cloned().or_else(composed) {
        Some(kind) => Ok(kind),
        None if TYPE_NAMES.contains(&name) => Ok(Type::Plain("type")),
        None if name.starts_with('@') => Ok(Type::Unknown),
        None => Err(undeclared(name)),
    }
}

/// Returns the type of a macro: that of the result of its loop.
fn comprehension<'a>(
    c: &'a ComprehensionExpr,
    all: &Variables,
    inner: &mut Around<'a>,
) -> Result<Type, Fault> {
    let range = infer(&c.iter_range, all, inner)?;
    let (first, second) = range.members().map_err(Fault::new)?;
    let begun = infer(&c.accu_init, all, inner)?;
    let depth = inner.bound.len();
    match &c.iter_var2 {
        Some(name) => {
            // Over a list: the index, then the item.
            let (key, value) = if matches!(range, Type::List(_)) { (second, first) } else { (first, second) };
            inner.bound.push((&c.iter_var, key));
            inner.bound.push((name, value));
        }
        None => inner.bound.push((&c.iter_var, first)),
    }
    inner.bound.push((&c.accu_var, begun.clone()));
    infer(&c.loop_cond, all, inner)?;
    let step = infer(&c.loop_step, all, inner)?;
    if let Some(last) = inner.bound.last_mut() {
        last.1 = begun.or(step);
    }
    let result = infer(&c.result, all, inner);
    inner.bound.truncate(depth);
    result
}

#[cfg(test)]
mod tests;
