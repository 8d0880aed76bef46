//! Positions of items in lists: `indexOf` and `lastIndexOf` of Kubernetes' own CEL library
//! (`apiserver/pkg/cel/library/lists.go`). The library of texts has functions of these names, too,
//! so those of lists are overloads beside them: a call finds its own by the type of its target.

use super::arguments::NO_OVERLOAD;
use cel::common::types::{CelInt, DYN_TYPE, LIST_TYPE};
use cel::common::value::CowVal;
use cel::{DeclarationError, Env, ExecutionError};

/// Adds both functions to an environment.
///
/// # Errors
/// If they are there already.
pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    let item = || vec![DYN_TYPE];
    env.add_member_overload("indexOf", "list_a_index_of_int", LIST_TYPE, item(), index_of)?;
    env.add_member_overload("lastIndexOf", "list_a_last_index_of_int", LIST_TYPE, item(), last_index_of)
}

/// `[1, 2, 2].indexOf(2)` is 1.
fn index_of<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    position("indexOf", &args, false)
}

/// `[1, 2, 2].lastIndexOf(2)` is 2.
fn last_index_of<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    position("lastIndexOf", &args, true)
}

/// Returns the index of the first or the last item that equals the wanted one; -1 if none does.
fn position<'b, 'v>(
    name: &str,
    args: &[CowVal<'b, 'v>],
    last: bool,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [list, wanted] = args else {
        return Err(ExecutionError::invalid_argument_count(2, args.len()));
    };
    let items = list.as_iterable();
    let mut items = items.ok_or_else(|| ExecutionError::function_error(name, NO_OVERLOAD))?.iter();
    let (mut here, mut found) = (0, -1);
    while let Some(item) = items.next() {
        if item.equals(wanted.as_ref()) {
            found = here;
            if !last {
                break;
            }
        }
        here += 1;
    }
    Ok(CowVal::owned(CelInt::from(found)))
}

#[cfg(test)]
mod tests {
    use super::super::environment::context;
    use super::super::terms::{compile, execute};
    use cel::Value;

    #[test]
    fn items_have_places_and_so_have_letters() {
        for (source, want) in [
            ("[1, 2, 2, 3].indexOf(2)", 1),
            ("[1, 2, 2, 3].lastIndexOf(2)", 2),
            ("['a', 'b', 'b', 'c'].lastIndexOf('b')", 2),
            ("[1.0].indexOf(1.1)", -1),
            ("[1.0].indexOf(1)", 0),
            ("[].indexOf('x')", -1),
            ("[].lastIndexOf('x')", -1),
            ("[[1], [2]].indexOf([2])", 1),
            ("[{'a': 1}, {'a': 2}].indexOf({'a': 2})", 1),
            ("['ab', 'b'].map(x, x + 'c').indexOf('bc')", 1),
            ("'hello mellow'.indexOf('ello')", 1),
            ("'hello mellow'.indexOf('ello', 2)", 7),
            ("'hello mellow'.lastIndexOf('ello')", 7),
        ] {
            let found = execute(&compile(source).unwrap(), &context());
            assert_eq!(found, Ok(Value::Int(want)), "{source}");
        }
        for source in ["1.indexOf(1)", "{'a': 1}.indexOf('a')", "[1].indexOf(1, 0)"] {
            assert!(execute(&compile(source).unwrap(), &context()).is_err(), "{source}");
        }
    }
}
