//! Variables that a template uses where they are not declared. Go's parser refuses them; what an
//! assignment (`{{$x = 1}}`) names is looked for when it runs.

use super::tree::{Node, Pipe, What};

/// Returns the first variable that is used outside of its scope, and where its term begins.
pub(super) fn undeclared(nodes: &[Node]) -> Option<(&str, usize)> {
    in_nodes(nodes, &mut vec!["$"])
}

fn in_nodes<'a>(nodes: &'a [Node], vars: &mut Vec<&'a str>) -> Option<(&'a str, usize)> {
    nodes.iter().find_map(|node| in_node(node, vars))
}

/// Source: `Tree.pipeline` and `Tree.parseControl` of text/template/parse. A variable is declared
/// before its own value is read, and what a body declares is still there in its `else`.
fn in_node<'a>(node: &'a Node, vars: &mut Vec<&'a str>) -> Option<(&'a str, usize)> {
    let outer = vars.len();
    let (pipe, body, otherwise) = match node {
        Node::Text(_) | Node::Break | Node::Continue | Node::Call(_, None, _) => return None,
        Node::Print(pipe) | Node::Call(_, Some(pipe), _) => return in_pipe(pipe, vars),
        // Also by an assignment: what it names is looked for when it runs.
        Node::Keep(name, _, pipe) => {
            vars.push(name);
            return in_pipe(pipe, vars);
        }
        Node::If(name, pipe, body, otherwise) | Node::With(name, pipe, body, otherwise) => {
            vars.extend(name.as_ref().map(|(name, _)| name.as_str()));
            (pipe, body, otherwise)
        }
        Node::Range(key, value, pipe, body, otherwise) => {
            vars.extend(key.as_deref());
            vars.extend(value.as_deref());
            (pipe, body, otherwise)
        }
    };
    let found = in_pipe(pipe, vars).or_else(|| in_nodes(body, vars)).or_else(|| in_nodes(otherwise, vars));
    vars.truncate(outer);
    found
}

fn in_pipe<'a>(pipe: &'a Pipe, vars: &[&str]) -> Option<(&'a str, usize)> {
    pipe.iter().flatten().find_map(|term| match &term.what {
        What::Var(name, _) => (!vars.contains(&name.as_str())).then_some((name.as_str(), term.start)),
        What::Group(pipe, _) => in_pipe(pipe, vars),
        What::Dot(_) | What::Word(_) | What::Literal(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Template;

    /// The errors are those of Go 1.26.
    #[test]
    fn a_variable_is_declared_before_it_is_used() {
        for (source, want) in [
            ("{{$x}}", Some("1: undefined variable \"$x\"")),
            ("a\n{{len (print $x.b)}}", Some("2: undefined variable \"$x\"")),
            ("{{if true}}{{$x := 1}}{{end}}{{$x}}", Some("1: undefined variable \"$x\"")),
            ("{{range $i, $e := .}}{{end}}{{$i}}", Some("1: undefined variable \"$i\"")),
            ("{{define \"a\"}}{{$y}}{{end}}", Some("1: undefined variable \"$y\"")),
            ("{{$v := 1}}{{define \"x\"}}{{$v}}{{end}}", Some("1: undefined variable \"$v\"")),
            ("{{with $y := 1}}{{else}}{{$y}}{{end}}{{$y}}", Some("1: undefined variable \"$y\"")),
            ("{{$x = 1}}{{$x}}", None),
            ("{{$x := $x}}", None),
            ("{{$}}{{$.a}}", None),
            ("{{if $z := 1}}{{$z}}{{else}}{{$z}}{{end}}", None),
            ("{{range $i, $e := .}}{{$i}}{{$e}}{{template \"t\" $e}}{{end}}", None),
        ] {
            let want = want.map(|want| format!("template: output:{want}"));
            assert_eq!(Template::parse(source).err(), want, "{source}");
        }
    }
}
